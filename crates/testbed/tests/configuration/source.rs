//! What the source of the configuration types says: fields in their order, their types, their comments.

use std::{collections::BTreeMap, fs, path::PathBuf};

use syn::{
    Attribute, Expr, ExprLit, Fields, GenericArgument, Item, ItemEnum, ItemStruct, Lit, LitStr, Meta,
    PathArguments, Type,
};

/// The types of some files, by name.
#[derive(Debug, Default)]
pub(crate) struct Types {
    pub(crate) structs: BTreeMap<String, Vec<Field>>,
    pub(crate) enums: BTreeMap<String, Vec<Choice>>,
}

/// A field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The type without its path: `u64`, `LimitsConfig`, `Vec<String>`.
    pub(crate) of_type: String,
    pub(crate) comment: String,
}

/// A variant of an enum.
#[derive(Debug)]
pub(crate) struct Choice {
    /// As it is written in a configuration.
    pub(crate) value: String,
    pub(crate) comment: String,
}

impl Types {
    /// Reads the types of `files` that a configuration consists of; of two types of one name, that of the first file stays.
    pub(crate) fn read(files: &[PathBuf]) -> Self {
        let mut types = Self::default();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for item in syn::parse_file(&text).unwrap().items {
                match item {
                    Item::Struct(item) if is_read(&item.attrs) => {
                        types.structs.entry(item.ident.to_string()).or_insert_with(|| fields(&item));
                    }
                    Item::Enum(item) if is_read(&item.attrs) => {
                        types.enums.entry(item.ident.to_string()).or_insert_with(|| choices(&item));
                    }
                    _ => {}
                }
            }
        }
        types
    }
}

/// Whether values of the type are read from a configuration.
fn is_read(attributes: &[Attribute]) -> bool {
    let mut is_read = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        attribute
            .parse_nested_meta(|meta| {
                is_read |= meta.path.is_ident("Deserialize");
                Ok(())
            })
            .unwrap();
    }
    is_read
}

fn fields(item: &ItemStruct) -> Vec<Field> {
    let Fields::Named(fields) = &item.fields else { return Vec::new() };
    let field = |field: &syn::Field| Field {
        name: field.ident.as_ref().unwrap().to_string(),
        of_type: type_name(&field.ty),
        comment: comment(&field.attrs),
    };
    fields.named.iter().map(field).collect()
}

fn choices(item: &ItemEnum) -> Vec<Choice> {
    let style = serde_value(&item.attrs, "rename_all");
    let value = |variant: &syn::Variant| {
        serde_value(&variant.attrs, "rename")
            .unwrap_or_else(|| renamed(&variant.ident.to_string(), style.as_deref()))
    };
    let values: Vec<_> = item.variants.iter().map(value).collect();
    let choice = |(variant, value): (&syn::Variant, &String)| {
        // A comment names its neighbours as Rust does.
        let names = item.variants.iter().zip(&values);
        let comment = names.fold(comment(&variant.attrs), |comment, (other, value)| {
            comment.replace(&format!("`{}`", other.ident), &format!("`{value}`"))
        });
        Choice { value: value.clone(), comment }
    };
    item.variants.iter().zip(&values).map(choice).collect()
}

/// A variant as serde writes it.
fn renamed(variant: &str, style: Option<&str>) -> String {
    match style {
        None => variant.to_owned(),
        Some("lowercase") => variant.to_lowercase(),
        Some("snake_case") => {
            let mut name = String::new();
            for letter in variant.chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.extend(letter.to_lowercase());
            }
            name
        }
        Some(style) => panic!("rename_all = {style:?} is not known here; add it"),
    }
}

/// `value` of `#[serde(name = "value")]`.
fn serde_value(attributes: &[Attribute], name: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute
            .parse_nested_meta(|meta| {
                if let Ok(value) = meta.value() {
                    let text: LitStr = value.parse()?;
                    if meta.path.is_ident(name) {
                        found = Some(text.value());
                    }
                }
                Ok(())
            })
            .unwrap();
    }
    found
}

/// The name of a type, with what it is of: `Vec<String>`.
fn type_name(of_type: &Type) -> String {
    let Type::Path(path) = of_type else { panic!("a field of a configuration has a type without a name") };
    let segment = path.path.segments.last().unwrap();
    match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => {
            let types = arguments.args.iter().filter_map(|argument| match argument {
                GenericArgument::Type(inner) => Some(type_name(inner)),
                _ => None,
            });
            format!("{}<{}>", segment.ident, types.collect::<Vec<_>>().join(", "))
        }
        _ => segment.ident.to_string(),
    }
}

/// The comment as one paragraph, without the targets of its links.
fn comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    without_links(&lines.join(" "))
}

fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("](") {
        let (prefix, label) = before.rsplit_once('[').unwrap_or((before, ""));
        plain.push_str(prefix);
        plain.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}
