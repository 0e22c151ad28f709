//! The ids of trace and span in the log lines of a request, where it has them.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Json, Writer},
    },
    registry::LookupSpan,
};

use crate::trace::current_ids;

/// Adds `trace_id` and `span_id` to what another format has written. They are looked for only when a line is
/// written, so that requests without one cost nothing.
pub(super) struct WithIds<F> {
    format: Format<F>,
    /// What a line ends with, and what stands around the ids before that.
    end: &'static str,
    between: [&'static str; 3],
}

impl WithIds<Full> {
    pub(super) fn text(format: Format<Full>) -> Self {
        Self { format, end: "", between: [" trace_id=", " span_id=", ""] }
    }
}

impl WithIds<Json> {
    pub(super) fn json(format: Format<Json>) -> Self {
        Self { format, end: "}", between: [r#","trace_id":""#, r#"","span_id":""#, r#"""#] }
    }
}

impl<F, S, N> FormatEvent<S, N> for WithIds<F>
where
    Format<F>: FormatEvent<S, N>,
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace, span)) = current_ids() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        let begun = line.strip_suffix(self.end).unwrap_or(line);
        let [before, between, after] = self.between;
        writeln!(writer, "{begun}{before}{trace}{between}{span}{after}{}", self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
    };
    use tracing::{info, subscriber::with_default};
    use tracing_subscriber::{
        fmt::{format, format::JsonFields, layer},
        layer::SubscriberExt as _,
        registry,
    };

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// Logs one line outside of a request and one in it.
    fn log(subscriber: impl Subscriber + Send + Sync, written: &Written) -> (String, String) {
        let (trace, span) = (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap());
        let remote = SpanContext::new(trace, span, TraceFlags::default(), true, TraceState::default());
        with_default(subscriber, || {
            info!(items = 1, "outside");
            let _in_a_request = Context::new().with_remote_span_context(remote).attach();
            info!(items = 2, "inside");
        });
        let [outside, inside] = written.lines().try_into().unwrap();
        (outside, inside)
    }

    #[test]
    fn a_json_line_of_a_request_is_an_object_with_its_ids() {
        let (written, format) = (Written::default(), WithIds::json(format().json()));
        let to = written.clone();
        let layer =
            layer().event_format(format).fmt_fields(JsonFields::new()).with_writer(move || to.clone());
        let (outside, inside) = log(registry().with(layer), &written);
        assert!(!outside.contains("trace_id"), "{outside}");
        let ids = format!(r#","trace_id":"{TRACE}","span_id":"{SPAN}"}}"#);
        assert!(
            inside.ends_with(&ids) && inside.contains(r#""fields":{"message":"inside","items":2}"#),
            "{inside}"
        );
        assert_eq!(inside.matches('{').count(), inside.matches('}').count(), "{inside}");
    }

    #[test]
    fn a_line_of_text_of_a_request_ends_with_its_ids() {
        let (written, format) = (Written::default(), WithIds::text(format().with_ansi(false)));
        let to = written.clone();
        let layer = layer().event_format(format).with_writer(move || to.clone()).with_ansi(false);
        let (outside, inside) = log(registry().with(layer), &written);
        assert!(outside.ends_with("outside items=1"), "{outside}");
        assert!(inside.ends_with(&format!("inside items=2 trace_id={TRACE} span_id={SPAN}")), "{inside}");
    }
}
