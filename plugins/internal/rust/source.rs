//! Reads the parts of a record that plugins name in their configuration: "key",
//! "header:NAME" and "json:PATH".

use klamm::json::{self, Error, Paths};
use klamm::text::quote;
use klamm::{Buf, List, Record, Text};

enum Source {
    Key,
    Header(Buf),
    Json(usize),
}

/// The sources of one plugin, read together: the value is scanned once.
pub struct Sources {
    list: List<Source>,
    paths: Paths,
    decoded: Buf, // JSON strings with escapes
}

/// What a source is of a record.
pub struct Part<'a> {
    pub bytes: &'a [u8],
    /// False for JSON that is no string: bytes are as it is written.
    pub text: bool,
}

impl Sources {
    /// Reads a list of sources, or returns what is wrong.
    pub fn parse(texts: &[Text]) -> Result<Sources, Buf> {
        if texts.is_empty() {
            return Err("the list is empty; it takes \"key\", \"header:NAME\" and \"json:PATH\"".into());
        }
        let mut s = Sources { list: List::new(), paths: Paths::new(), decoded: Buf::new() };
        for text in texts {
            let one = s.parse_one(text)?;
            s.list.push(one);
        }
        Ok(s)
    }

    fn parse_one(&mut self, text: &str) -> Result<Source, Buf> {
        if text == "key" {
            return Ok(Source::Key);
        }
        match (text.strip_prefix("header:"), text.strip_prefix("json:")) {
            (Some(name), _) if !name.is_empty() => Ok(Source::Header(name.into())),
            (_, Some("")) | (Some(_), _) | (None, None) => {
                let mut wrong = Buf::new();
                quote(&mut wrong, text.as_bytes());
                wrong.add(" is none of \"key\", \"header:NAME\", \"json:PATH\"");
                Err(wrong)
            }
            (None, Some(_)) if self.paths.len() == json::MAX_PATHS => Err("more than 64 JSON paths".into()),
            (None, Some(path)) => match self.paths.add(path) {
                Ok(i) => Ok(Source::Json(i)),
                Err(what) => Err(json::wrong(path.as_bytes(), &what)),
            },
        }
    }

    /// What the sources need to see of a record.
    pub fn fields(&self) -> u8 {
        self.list.iter().fold(0, |fields, s| {
            fields
                | match s {
                    Source::Key => klamm::KEY,
                    Source::Header(_) => klamm::HEADERS,
                    Source::Json(_) => klamm::VALUE,
                }
        })
    }

    #[allow(dead_code)] // by those with one source
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the key is the one and only source.
    #[allow(dead_code)]
    pub fn key_only(&self) -> bool {
        matches!(&self.list[..], [Source::Key])
    }

    /// Looks into the value, if a source lies there, before [`Sources::get`]. A null
    /// value has no fields and is no error.
    #[inline]
    pub fn open(&mut self, r: &Record) -> Result<(), Error> {
        if self.paths.is_empty() {
            return Ok(());
        }
        match r.value() {
            None => Ok(()),
            Some(doc) => self.paths.scan(doc),
        }
    }

    /// Source i of the record; nothing when it is missing or null.
    #[inline]
    pub fn get<'a>(&'a mut self, r: &'a Record, i: usize) -> Option<Part<'a>> {
        let path = match &self.list[i] {
            Source::Key => return r.key().map(|bytes| Part { bytes, text: true }),
            Source::Header(name) => return Some(Part { bytes: r.header(name)?.value?, text: true }),
            Source::Json(path) => *path,
        };
        let raw = self.paths.last(r.value()?, path)?;
        if raw == b"null" {
            return None;
        }
        Some(match json::string(raw, &mut self.decoded) {
            Some(bytes) => Part { bytes, text: true },
            None => Part { bytes: raw, text: false },
        })
    }
}
