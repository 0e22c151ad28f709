//! JSON in both directions: what one way writes the other reads, and other readers read the same.

use opentelemetry_proto::tonic::trace::v1 as theirs;
use otlp_codec::json::{Message, from_protobuf, to_protobuf};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use proptest::{collection::vec, prelude::*, sample::select};
use prost::Message as _;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{ALL_MESSAGES, config, damaged, messages};

/// Valid JSON with a word of the format where it does not belong.
fn reworded(valid: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let words = select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\ud800",
        "null",
        "true",
        "-0",
        "1e999",
        "18446744073709551616",
        "\"NaN\"",
        "{\"arrayValue\":{\"values\":[",
        "\"traceId\":\"\",",
        "\"intValue\":1.5,",
    ]);
    (valid, any::<prop::sample::Index>(), words).prop_map(|(mut text, index, word)| {
        let place = index.index(text.len() + 1);
        text.splice(place..place, word.bytes());
        text
    })
}

fn any_json_bytes() -> impl Strategy<Value = Vec<u8>> {
    let json =
        |message, bytes: Vec<u8>| from_protobuf(message, &bytes).expect("a valid message has a JSON form");
    prop_oneof![
        vec(any::<u8>(), 0..200),
        damaged(messages::traces().prop_map(move |data| json(Message::TracesData, data.encode_to_vec()))),
        damaged(messages::logs().prop_map(move |data| json(Message::LogsData, data.encode_to_vec()))),
        reworded(messages::traces().prop_map(move |data| json(Message::TracesData, data.encode_to_vec()))),
        reworded(messages::logs().prop_map(move |data| json(Message::LogsData, data.encode_to_vec()))),
    ]
}

/// Texts that are JSON or nearly so, of names that no message knows.
fn any_value_text() -> impl Strategy<Value = Vec<u8>> {
    let leaf = select(vec![
        "null",
        "true",
        "false",
        "nul",
        "truE",
        "NaN",
        "0",
        "-0",
        "7",
        "01",
        "-01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.5",
        "-1.5e-3",
        "1e",
        "1e+",
        "1E999",
        "99999999999999999999",
        "\"\"",
        "\"a\"",
        "\"é\u{1f600}\u{7f}\"",
        "\"a\\n\\\"\\/\"",
        "\"\\x\"",
        "\"\\u00e9\"",
        "\"\\u00\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"12345678\t\"",
        "\"open",
        "\"open\\",
        "\u{a0}",
        "",
    ]);
    let space = || select(vec!["", "", "", " ", "\n\t\r ", "\u{b}"]);
    let leaf = (space(), leaf, space()).prop_map(|(before, leaf, after)| format!("{before}{leaf}{after}"));
    let text = leaf.prop_recursive(6, 40, 4, move |inner| {
        let name = select(vec!["\"\"", "\"a\"", " \"a\\u0062\" ", "\"\\udc00\"", "a"]);
        let list = vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(",")));
        let member = (name, inner).prop_map(|(name, value)| format!("{name}:{value}"));
        let object = vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",")));
        prop_oneof![list, object]
    });
    let bytes = text.prop_map(String::into_bytes);
    prop_oneof![bytes.clone(), damaged(bytes.clone()), reworded(bytes)]
}

fn is_json(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Prints a value with as much as JSON allows: space everywhere, and every character escaped.
fn print_at_length(value: &Value, text: &mut String) {
    let print_string = |string: &str, text: &mut String| {
        text.push('"');
        for unit in string.encode_utf16() {
            text.push_str(&format!("\\u{unit:04X}"));
        }
        text.push('"');
    };
    text.push_str("\r\n\t ");
    match value {
        Value::String(string) => print_string(string, text),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                print_at_length(value, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                text.push_str(if index == 0 { " " } else { ", " });
                print_string(name, text);
                text.push_str(" :");
                print_at_length(value, text);
            }
            text.push('}');
        }
        value => text.push_str(&value.to_string()),
    }
    text.push(' ');
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn traces_survive_the_way_through_json(data in messages::traces()) {
        let bytes = data.encode_to_vec();
        let json = from_protobuf(Message::TracesData, &bytes).unwrap();
        prop_assert_eq!(to_protobuf(Message::TracesData, &json), Ok(bytes));
    }

    #[test]
    fn logs_survive_the_way_through_json(data in messages::logs()) {
        let bytes = data.encode_to_vec();
        let json = from_protobuf(Message::LogsData, &bytes).unwrap();
        prop_assert_eq!(to_protobuf(Message::LogsData, &json), Ok(bytes));
    }

    #[test]
    fn no_text_makes_the_codec_panic(text in any_json_bytes()) {
        for message in ALL_MESSAGES {
            match to_protobuf(message, &text) {
                Ok(bytes) => {
                    let printed = from_protobuf(message, &bytes).unwrap();
                    prop_assert_eq!(to_protobuf(message, &printed), Ok(bytes));
                }
                Err(error) => prop_assert!(error.to_string().len() < 1024),
            }
        }
    }

    #[test]
    fn json_becomes_the_bytes_that_prost_writes(text in any_json_bytes()) {
        if let Ok(bytes) = to_protobuf(Message::TracesData, &text) {
            prop_assert_eq!(TracesData::decode(&bytes[..]).unwrap().encode_to_vec(), bytes);
        }
        if let Ok(bytes) = to_protobuf(Message::LogsData, &text) {
            prop_assert_eq!(LogsData::decode(&bytes[..]).unwrap().encode_to_vec(), bytes);
        }
    }

    /// The names come sorted by the alphabet, too.
    #[test]
    fn order_white_space_and_escapes_change_nothing(data in messages::traces()) {
        let bytes = data.encode_to_vec();
        let value = serde_json::from_slice(&from_protobuf(Message::TracesData, &bytes).unwrap()).unwrap();
        let mut text = String::new();
        print_at_length(&value, &mut text);
        prop_assert_eq!(to_protobuf(Message::TracesData, text.as_bytes()), Ok(bytes));
    }

    #[test]
    fn what_both_read_the_serde_of_opentelemetry_proto_reads_the_same(text in any_json_bytes()) {
        let ours = to_protobuf(Message::TracesData, &text);
        let theirs = serde_json::from_slice::<theirs::TracesData>(&text);
        // They take an index in the place of a value for a name that nobody knows.
        let has_index = text.windows(20).any(|piece| piece == b"\"stringValueStrindex");
        if let (Ok(ours), Ok(theirs), false) = (ours, theirs, has_index) {
            prop_assert_eq!(ours, theirs.encode_to_vec(), "{}", String::from_utf8_lossy(&text));
        }
    }
}

proptest! {
    #![proptest_config(config(4096))]

    #[test]
    fn what_nobody_knows_must_be_json_and_nothing_more(text in any_value_text()) {
        let text = [b"{\"unknown\":", &text[..], b"}"].concat();
        for message in ALL_MESSAGES {
            let read = to_protobuf(message, &text);
            prop_assert_eq!(read.is_ok(), is_json(&text), "{:?}", read);
            prop_assert!(read.unwrap_or_default().is_empty());
        }
    }
}
