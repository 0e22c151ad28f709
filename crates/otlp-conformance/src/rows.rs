//! The list of rows: a row that is not named here does not run.

mod data;
mod grpc;
mod http;
mod json;

use futures::FutureExt as _;
use otlp_proto::opentelemetry::proto::collector::{
    logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
};
use prost::Message;

use crate::{
    Case,
    doors::Pair,
    grpc::{Call, LOGS, TRACES},
    http1::{PROTOBUF, Request},
};

macro_rules! rows {
    ($($module:ident: $($row:ident)*;)*) => {
        vec![$($(Case {
            name: stringify!($row),
            run: |doors| async move { $module::$row(&doors).await }.boxed_local(),
        },)*)*]
    };
}

pub(crate) fn all() -> Vec<Case> {
    rows! {
        grpc:
            g1_an_export_of_either_signal_is_answered
            g2_gzip_is_accepted
            g3_zstd_is_accepted_and_other_encodings_are_unimplemented
            g4_an_empty_request_succeeds
            g5_an_oversize_message_is_refused
            g5a_an_oversize_message_is_not_retryable
            g6_undecodable_bytes_are_an_invalid_argument
            g7_bad_spans_are_counted_and_the_rest_is_kept
            g8_nothing_is_said_when_everything_is_accepted
            g9_a_store_that_is_away_is_unavailable
            g10_a_full_store_is_retryable_and_a_full_correlation_is_not
            g11_only_passing_faults_are_retryable
            g12_an_expired_deadline_is_retryable
            g13_metrics_are_unimplemented
            g14_a_hundred_calls_on_one_connection_are_all_answered
            g15_the_same_request_twice_succeeds_and_is_kept_once
            g16_a_response_stays_short;
        http:
            h1_protobuf_is_answered_in_protobuf
            h2_json_is_answered_in_json
            h3_a_media_type_is_compared_without_parameters_and_case
            h3a_the_content_type_of_an_answer_has_no_parameters
            h4_another_content_type_is_415
            h5_another_method_is_405
            h6_gzip_is_accepted
            h7_an_unknown_content_encoding_is_400
            h8_a_body_that_is_not_gzip_is_400
            h9_an_undecodable_body_is_400_with_a_bad_request
            h10_every_error_is_a_status_in_the_encoding_of_the_request
            h11_a_body_over_the_limit_is_413
            h12_overload_is_503_or_429_with_retry_after
            h13_a_store_that_is_away_is_503
            h14_the_status_of_an_engine_becomes_its_http_code
            h15_an_answer_is_not_compressed
            h16_json_and_protobuf_share_a_port
            h17_connections_are_kept_and_http_2_is_spoken
            h18_an_unknown_path_is_404_with_a_status
            h19_there_is_no_cross_origin_access
            h20_paths_and_port_are_the_defaults;
        json:
            j1_ids_in_either_case_are_the_same
            j2_base64_ids_are_refused
            j3_enums_are_integers
            j4_enum_names_are_accepted
            j5_unknown_fields_are_ignored
            j6_snake_case_names_are_unknown
            j7_64_bit_integers_are_text_or_numbers
            j8_32_bit_integers_are_text_or_numbers
            j9_null_is_unset
            j10_doubles_are_numbers_or_text
            j11_empty_lists_may_be_left_out
            j12_an_attribute_may_have_no_value
            j13_an_attribute_may_have_no_key
            j14_bytes_are_base64_in_either_alphabet
            j15_an_empty_object_is_an_empty_request
            j16_entity_references_need_no_schema_url
            j17_ids_that_are_not_hexadecimal_are_400
            j18_a_prefix_before_an_id_is_400;
        data:
            d1_a_span_without_valid_ids_is_rejected_alone
            d2_a_log_record_without_valid_ids_is_accepted
            d3_a_span_without_a_parent_is_the_root
            d4_every_kind_is_kept
            d5_flags_are_kept_with_all_their_bits
            d6_a_log_record_without_a_time_has_the_time_it_was_observed
            d7_times_in_any_order_are_accepted
            d8_repeated_attributes_and_empty_names_are_accepted
            d9_string_table_references_are_kept_and_not_followed
            d10_resource_scope_and_status_are_optional
            d11_a_severity_of_zero_is_allowed
            d12_deep_nesting_is_bounded;
    }
}

/// Signals with their method and path.
const SIGNALS: [(&str, &str); 2] = [(TRACES, "/v1/traces"), (LOGS, "/v1/logs")];

/// How telemetry comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// OTLP/gRPC to the engine.
    Grpc,
    /// OTLP/HTTP, protobuf, to the gateway.
    Http,
}

impl Door {
    const BOTH: [Self; 2] = [Self::Grpc, Self::Http];

    /// Exports spans; the request as a whole must be accepted.
    async fn traces(self, pair: &Pair, request: &ExportTraceServiceRequest) -> ExportTraceServiceResponse {
        self.export(pair, SIGNALS[0], &request.encode_to_vec()).await
    }

    /// Exports log records; the request as a whole must be accepted.
    async fn logs(self, pair: &Pair, request: &ExportLogsServiceRequest) -> ExportLogsServiceResponse {
        self.export(pair, SIGNALS[1], &request.encode_to_vec()).await
    }

    async fn export<Response: Message + Default>(
        self,
        pair: &Pair,
        (method, path): (&str, &str),
        request: &[u8],
    ) -> Response {
        let response = match self {
            Self::Grpc => {
                Call::new(method, request).send(pair.engine.grpc()).await.unwrap().message().to_vec()
            }
            Self::Http => {
                let answer = Request::post(path, PROTOBUF, request).send(pair.gateway.http()).await.unwrap();
                assert_eq!((answer.status, answer.content_type()), (200, PROTOBUF), "{answer:?}");
                answer.body
            }
        };
        Response::decode(response.as_slice()).unwrap()
    }
}
