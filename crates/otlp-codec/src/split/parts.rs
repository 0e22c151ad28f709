//! Collects the items of each subject while a request is walked, and encodes them at the end.

use crate::{
    attributes::{FoundKey, Resource, SplitOptions, subject_of_keys},
    envelope::{Children, Heads, Item, ScopeHead, Signal},
    facts::{Facts, Root},
    seeded::SeededMap,
    text::bounded,
    wire::{DecodeError, Problem, Slice},
};

use super::{PARTS_BYTES_MAX, Part, Subject};

/// Memory of an item beside its bytes: its entry here, its identity and its place in the index.
const ITEM_BYTES: usize = 128;
/// Items for which a part has room from the beginning.
const ITEMS_EXPECTED: usize = 8;
/// Memory of a part, and of a resource in a part, beside the heads: facts, names and buffers.
const GROUP_BYTES: usize = 512;

/// The parts of a request so far, and the resource and scope that the walk is in.
pub(super) struct Parts<'a> {
    signal: &'static Signal,
    options: &'a SplitOptions,
    heads: Heads<'a>,
    /// Parallel to the resources of `heads`.
    resources: Vec<Resource>,
    drafts: Vec<Draft<'a>>,
    index: SeededMap<Subject, usize>,
    /// Where the previous item went. Neighbours mostly belong together, which spares the lookup.
    latest: usize,
    /// About what the parts take, and will take when they are encoded.
    bytes: usize,
}

/// A part in the making.
struct Draft<'a> {
    subject: Subject,
    items: Vec<Item<'a>>,
    identities: Vec<[u8; 16]>,
    facts: Facts,
}

/// A part, opened for the next item.
pub(super) struct OpenPart<'p, 'a> {
    draft: &'p mut Draft<'a>,
    heads: &'p Heads<'a>,
    resource: &'p Resource,
    options: &'p SplitOptions,
    bytes: &'p mut usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(signal: &'static Signal, options: &'a SplitOptions) -> Self {
        Self {
            signal,
            options,
            heads: Heads::default(),
            resources: Vec::new(),
            drafts: Vec::new(),
            index: SeededMap::default(),
            latest: 0,
            bytes: 0,
        }
    }

    /// Goes on with the next resource message and returns its scope messages.
    pub(super) fn enter_resource(&mut self, slice: Slice<'a>) -> Result<Children<'a>, DecodeError> {
        self.leave_scope();
        if self.heads.scopes.last().is_none_or(|scope| scope.resource + 1 < self.resources.len()) {
            // No item of the resource before was kept.
            self.resources.pop();
            self.heads.resources.pop();
        }
        let envelope = self.signal.open_resource(slice)?;
        self.resources.push(Resource::read(self.signal.resource, slice, self.options)?);
        self.heads.resources.push(envelope.head);
        Ok(envelope.children)
    }

    /// Goes on with the next scope message of that resource and returns its items.
    pub(super) fn enter_scope(&mut self, slice: Slice<'a>) -> Result<Children<'a>, DecodeError> {
        self.leave_scope();
        let envelope = self.signal.open_scope(slice)?;
        let resource = self.resources.len() - 1;
        self.heads.scopes.push(ScopeHead { resource, head: envelope.head });
        Ok(envelope.children)
    }

    /// Forgets the scope that the walk is in, unless an item of it was kept.
    fn leave_scope(&mut self) {
        let latest = self.drafts.get(self.latest).and_then(|draft| draft.items.last());
        if latest.is_none_or(|item| item.scope + 1 < self.heads.scopes.len()) {
            self.heads.scopes.pop();
        }
    }

    /// Returns the head of the resource that the walk is in.
    pub(super) fn resource_head(&self) -> &[u8] {
        &self.heads.resources[self.heads.resources.len() - 1]
    }

    /// Returns the head of the scope that the walk is in.
    pub(super) fn scope_head(&self) -> &[u8] {
        &self.heads.scopes[self.heads.scopes.len() - 1].head
    }

    /// Names the subject of a log record without a trace id.
    pub(super) fn key_subject(&self, own: &[FoundKey]) -> Subject {
        let resource = &self.resources[self.resources.len() - 1];
        subject_of_keys(self.options, own, &resource.keys)
    }

    /// Opens the part of `subject`, at the resource and scope that the walk is in.
    pub(super) fn part(&mut self, subject: Subject) -> OpenPart<'_, 'a> {
        if self.drafts.get(self.latest).is_none_or(|draft| draft.subject != subject) {
            self.latest = *self.index.entry(subject.clone()).or_insert(self.drafts.len());
        }
        if self.latest == self.drafts.len() {
            self.drafts.push(Draft {
                subject,
                items: Vec::with_capacity(ITEMS_EXPECTED),
                identities: Vec::new(),
                facts: Facts::default(),
            });
        }
        OpenPart {
            draft: &mut self.drafts[self.latest],
            heads: &self.heads,
            resource: &self.resources[self.resources.len() - 1],
            options: self.options,
            bytes: &mut self.bytes,
        }
    }

    pub(super) fn finish(self) -> Vec<Part> {
        let Self { heads, resources, drafts, .. } = self;
        drafts
            .into_iter()
            .map(|draft| {
                let mut facts = draft.facts;
                facts.origins = heads
                    .by_resource(&draft.items)
                    .map(|items| resources[heads.resource_of(&items[0])].origin.clone())
                    .collect();
                facts.origins.sort_unstable();
                facts.origins.dedup();
                Part {
                    subject: draft.subject,
                    payload: heads.encode(&draft.items),
                    identities: draft.identities,
                    facts,
                }
            })
            .collect()
    }
}

impl<'a> OpenPart<'_, 'a> {
    /// Adds a span or log record.
    ///
    /// # Errors
    ///
    /// When the parts have become too large.
    pub(super) fn add(&mut self, slice: Slice<'a>, identity: [u8; 16]) -> Result<(), DecodeError> {
        let item = Item { scope: self.heads.scopes.len() - 1, message: slice.bytes };
        let resource = self.heads.resource_of(&item);
        let before = self.draft.items.last();
        *self.bytes += ITEM_BYTES + item.message.len();
        if before.is_none_or(|before| before.scope != item.scope) {
            *self.bytes += self.heads.scopes[item.scope].head.len();
        }
        if before.is_none_or(|before| self.heads.resource_of(before) != resource) {
            *self.bytes += GROUP_BYTES + self.heads.resources[resource].len();
        }
        if *self.bytes > PARTS_BYTES_MAX {
            return Err(slice.error("a request", Problem::TooManyParts(PARTS_BYTES_MAX)));
        }
        self.draft.items.push(item);
        self.draft.identities.push(identity);
        Ok(())
    }

    /// Notes the item's own keys and those of its resource.
    pub(super) fn add_keys(&mut self, own: &[FoundKey]) {
        for key in own.iter().chain(&self.resource.keys) {
            self.draft.facts.keys.insert(self.options.named(key));
        }
    }

    /// Makes a span without a parent the root, unless there is one already.
    pub(super) fn offer_root(&mut self, name: &[u8]) {
        self.draft.facts.root.get_or_insert_with(|| Root {
            service: self.resource.origin.service.clone(),
            name: bounded(name),
        });
    }

    pub(super) fn facts(&mut self) -> &mut Facts {
        &mut self.draft.facts
    }
}
