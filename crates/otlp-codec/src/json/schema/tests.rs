//! Compares the tables with the descriptors of `proto/opentelemetry`.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use super::{
    Cardinality, EXPORT_LOGS_SERVICE_REQUEST, EXPORT_LOGS_SERVICE_RESPONSE, EXPORT_TRACE_SERVICE_REQUEST,
    EXPORT_TRACE_SERVICE_RESPONSE, Field, Kind, LOGS_DATA, Schema, TRACES_DATA,
};

/// Messages and enums by full name.
#[derive(Default)]
struct Descriptors {
    messages: HashMap<String, DescriptorProto>,
    enums: HashMap<String, EnumDescriptorProto>,
}

impl Descriptors {
    fn load() -> Self {
        let set = FileDescriptorSet::decode(otlp_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut all = Self::default();
        for file in set.file {
            let package = format!(".{}", file.package());
            all.add_enums(&package, file.enum_type);
            for message in file.message_type {
                all.add_message(&package, message);
            }
        }
        all
    }

    fn add_message(&mut self, parent: &str, message: DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        self.add_enums(&name, message.enum_type.clone());
        for nested in message.nested_type.clone() {
            self.add_message(&name, nested);
        }
        self.messages.insert(name, message);
    }

    fn add_enums(&mut self, parent: &str, enums: Vec<EnumDescriptorProto>) {
        for descriptor in enums {
            self.enums.insert(format!("{parent}.{}", descriptor.name()), descriptor);
        }
    }

    /// Compares a table with its message and goes on with the messages inside.
    fn check(&self, full_name: &str, schema: &Schema, checked: &mut Vec<String>) {
        if checked.iter().any(|name| name == full_name) {
            return;
        }
        checked.push(full_name.to_owned());
        let message = &self.messages[full_name];
        assert_eq!(message.name(), schema.name);
        let mut expected: Vec<_> = message.field.iter().collect();
        expected.sort_by_key(|field| field.number());
        let numbers: Vec<_> = schema.fields.iter().map(|field| field.number as i32).collect();
        assert_eq!(numbers, expected.iter().map(|field| field.number()).collect::<Vec<_>>(), "{full_name}");
        assert!(message.oneof_decl.len() <= 1, "{full_name}: Cardinality::OneOf stands for one oneof");
        for (field, descriptor) in schema.fields.iter().zip(expected) {
            self.check_field(&format!("{full_name}.{}", field.name), field, descriptor, checked);
        }
    }

    fn check_field(
        &self,
        place: &str,
        field: &Field,
        descriptor: &FieldDescriptorProto,
        checked: &mut Vec<String>,
    ) {
        assert_eq!(field.name, camel_case(descriptor.name()), "{place}");
        let cardinality = match (descriptor.label(), descriptor.oneof_index) {
            (Label::Repeated, _) => Cardinality::Repeated,
            (_, Some(_)) => Cardinality::OneOf,
            _ => Cardinality::Single,
        };
        assert!(field.cardinality == cardinality, "{place}");
        let is_right = match field.kind {
            Kind::Bool => descriptor.r#type() == Type::Bool,
            Kind::Int32 => descriptor.r#type() == Type::Int32,
            Kind::Int64 => descriptor.r#type() == Type::Int64,
            Kind::Uint32 => descriptor.r#type() == Type::Uint32,
            Kind::Fixed32 => descriptor.r#type() == Type::Fixed32,
            Kind::Fixed64 => descriptor.r#type() == Type::Fixed64,
            Kind::Double => descriptor.r#type() == Type::Double,
            Kind::String => descriptor.r#type() == Type::String,
            // OTLP's JSON writes the ids in hexadecimal and all other bytes in base64.
            Kind::Bytes => descriptor.r#type() == Type::Bytes && !descriptor.name().ends_with("_id"),
            Kind::Id(length) => {
                let of_trace = descriptor.name() == "trace_id";
                let of_span = descriptor.name().ends_with("span_id");
                descriptor.r#type() == Type::Bytes && (of_trace && length == 16 || of_span && length == 8)
            }
            Kind::Enum(values) => {
                let expected = &self.enums[descriptor.type_name()].value;
                expected.iter().map(|value| (value.name(), value.number())).eq(values.iter().copied())
            }
            Kind::Message(inner) => {
                self.check(descriptor.type_name(), inner, checked);
                descriptor.r#type() == Type::Message
            }
        };
        assert!(is_right, "{place}: the kind differs from {:?}", descriptor.r#type());
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn the_tables_say_what_the_proto_files_say() {
    let descriptors = Descriptors::load();
    let mut checked = Vec::new();
    let roots = [
        ("collector.trace.v1.ExportTraceServiceRequest", &EXPORT_TRACE_SERVICE_REQUEST),
        ("collector.trace.v1.ExportTraceServiceResponse", &EXPORT_TRACE_SERVICE_RESPONSE),
        ("collector.logs.v1.ExportLogsServiceRequest", &EXPORT_LOGS_SERVICE_REQUEST),
        ("collector.logs.v1.ExportLogsServiceResponse", &EXPORT_LOGS_SERVICE_RESPONSE),
        ("trace.v1.TracesData", &TRACES_DATA),
        ("logs.v1.LogsData", &LOGS_DATA),
    ];
    for (name, schema) in roots {
        descriptors.check(&format!(".opentelemetry.proto.{name}"), schema, &mut checked);
    }
    assert_eq!(checked.len(), 24, "{checked:#?}");
}
