//! Where the functions of a census were written: names of chunks and line numbers, which are of code, not of data. They are
//! in a trace only where they were asked for.

use super::BadPayload;
use super::meta;
use super::pack::{pack, unpack};
use super::varint::{Cursor, put};

/// Where a proto's code was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtoPlace {
    /// The number of its chunk's name in [`Names::chunks`], from 0.
    pub chunk: u64,
    /// The line it starts at; 0 for a chunk as a whole.
    pub first_line: u64,
}

/// Where the protos and functions of a census were written. It belongs to the census of the same VM before it in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The chunks' names as Lua has them: `@` and a file's name, or `=` and another; `(text)` for a chunk that has none but
    /// its text.
    pub chunks: Vec<String>,
    /// One for each label of a proto, in the order of the labels; none if that is not known.
    pub protos: Vec<Option<ProtoPlace>>,
    /// The number of the proto of each label of a function, from 0, in the order of the labels; none for a C function, or
    /// if that is not known.
    pub functions: Vec<Option<u64>>,
}

impl Names {
    /// The payload. The frame's `count` is the number of protos.
    pub fn encode(&self) -> Vec<u8> {
        let [mut chunks, mut lines, mut functions] = [const { Vec::new() }; 3];
        for place in &self.protos {
            put(&mut chunks, place.map_or(0, |place| place.chunk.saturating_add(1)));
            place.iter().for_each(|place| put(&mut lines, place.first_line));
        }
        self.functions.iter().for_each(|proto| put(&mut functions, proto.map_or(0, |proto| proto.saturating_add(1))));
        let mut out = meta::encode(&self.chunks);
        [chunks, lines, functions].iter().for_each(|column| pack(&mut out, column));
        out
    }

    /// Reads a payload. Whether it fits a census is the reader's to check.
    pub fn decode(payload: &[u8]) -> Result<Names, BadPayload> {
        let mut cursor = Cursor::new(payload, "names");
        let chunks: Vec<String> =
            serde_json::from_slice(&unpack(&mut cursor)?).map_err(|error| BadPayload(error.to_string()))?;
        let [of_protos, lines, functions] = [(); 3].map(|()| unpack(&mut cursor));
        let (of_protos, lines, functions) = (of_protos?, lines?, functions?);
        cursor.end()?;
        let number = |number: u64, of: usize, what: &str| match number.checked_sub(1) {
            Some(number) if number >= of as u64 => Err(BadPayload(format!("names: {what} {number} of {of}"))),
            number => Ok(number),
        };
        let mut names = Names { chunks, ..Names::default() };
        let (mut of_protos, mut lines) = (Cursor::new(&of_protos, "names"), Cursor::new(&lines, "names"));
        while of_protos.left() > 0 {
            let chunk = number(of_protos.get()?, names.chunks.len(), "chunk")?;
            let place = |chunk| Ok(ProtoPlace { chunk, first_line: lines.get()? });
            names.protos.push(chunk.map(place).transpose()?);
        }
        lines.end()?;
        let mut functions = Cursor::new(&functions, "names");
        while functions.left() > 0 {
            names.functions.push(number(functions.get()?, names.protos.len(), "proto")?);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            chunks in vec(".{0,20}", 1..20),
            protos in vec(proptest::option::of(any::<(u64, u64)>()), 1..100),
            functions in vec(proptest::option::of(any::<u64>()), 0..100),
        ) {
            let place = |(chunk, first_line)| ProtoPlace { chunk: chunk % chunks.len() as u64, first_line };
            let protos: Vec<_> = protos.into_iter().map(|proto| proto.map(place)).collect();
            let functions = functions.into_iter().map(|proto| proto.map(|proto| proto % protos.len() as u64)).collect();
            let names = Names { chunks, protos, functions };
            prop_assert_eq!(Names::decode(&names.encode()), Ok(names));
        }

        #[test]
        fn any_bytes_decode_or_fail(payload: Vec<u8>) {
            let _ = Names::decode(&payload);
        }
    }

    #[test]
    fn numbers_of_what_is_not_there_are_refused() {
        let place = |chunk| Some(ProtoPlace { chunk, first_line: 7 });
        let chunks = vec!["@file.lua".to_owned()];
        let good = Names { chunks, protos: vec![place(0), None], functions: vec![Some(1), None] };
        assert_eq!(Names::decode(&good.encode()), Ok(good.clone()));
        for (bad, said) in [
            (Names { protos: vec![place(1), None], ..good.clone() }, "chunk 1 of 1"),
            (Names { functions: vec![Some(2)], ..good.clone() }, "proto 2 of 2"),
        ] {
            let refused = Names::decode(&bad.encode());
            assert!(refused.as_ref().is_err_and(|BadPayload(what)| what.contains(said)), "{refused:?}");
        }
    }
}
