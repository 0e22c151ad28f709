//! Everything that is sent: which trace is which copy of what.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    disguise::{Disguise, TraceId},
    recording::{RecordedTrace, Recording},
};

/// All copies of all recordings.
#[derive(Debug, Default)]
pub struct Book {
    pub copies: Vec<Copy>,
    traces: HashMap<TraceId, Place>,
}

/// One recording as it is sent.
#[derive(Debug)]
pub struct Copy {
    pub recording: Arc<Recording>,
    pub disguise: Disguise,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    copy: usize,
    trace: usize,
}

/// A trace of a copy.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub copy: usize,
    pub disguise: &'a Disguise,
    pub trace: &'a RecordedTrace,
}

/// Whether everything in a request of a copy must come out: by number of the copy and place of the request.
pub type Owed<'a> = dyn Fn(usize, usize) -> bool + Sync + 'a;

impl<'a> Sent<'a> {
    /// Items that must come out.
    pub fn owed(self, owed: &'a Owed<'_>) -> impl Iterator<Item = u32> + 'a {
        let items = self.trace.items.iter().zip(0..);
        let is_owed = move |requests: &[usize]| requests.iter().any(|request| owed(self.copy, *request));
        items.filter(move |(item, _)| is_owed(&item.requests)).map(|(_, number)| number)
    }
}

impl Book {
    pub fn add(&mut self, recording: &Arc<Recording>, disguise: Disguise) {
        let copy = self.copies.len();
        for (trace, recorded) in recording.traces.iter().enumerate() {
            self.traces.insert(disguise.trace_id(recorded.id), Place { copy, trace });
        }
        self.copies.push(Copy { recording: Arc::clone(recording), disguise });
    }

    pub fn get(&self, id: &TraceId) -> Option<Sent<'_>> {
        self.traces.get(id).map(|place| self.at(*place))
    }

    pub fn traces(&self) -> impl Iterator<Item = (&TraceId, Sent<'_>)> {
        self.traces.iter().map(|(id, place)| (id, self.at(*place)))
    }

    /// Traces by correlation key.
    pub fn keys(&self) -> BTreeMap<(String, String), BTreeSet<TraceId>> {
        let mut keys = BTreeMap::<_, BTreeSet<_>>::new();
        for Copy { recording, disguise } in &self.copies {
            for ((name, value), traces) in &recording.keys {
                let ids = traces.iter().map(|trace| disguise.trace_id(recording.traces[*trace].id));
                keys.entry((name.clone(), disguise.key(value))).or_default().extend(ids);
            }
        }
        keys
    }

    fn at(&self, place: Place) -> Sent<'_> {
        let Copy { recording, disguise } = &self.copies[place.copy];
        Sent { copy: place.copy, disguise, trace: &recording.traces[place.trace] }
    }
}
