//! Unsigned LEB128 and zigzag, and a cursor that never reads past its bytes.

use super::BadPayload;

/// Appends `value`, seven bits a byte, low bits first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `value` so that small magnitudes of either sign stay short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Reads a payload from front to back.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// `what` names the payload in errors.
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Cursor { bytes, what }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    fn short<T>(&self) -> Result<T, BadPayload> {
        Err(BadPayload(format!("{}: the payload ends in the middle of a value", self.what)))
    }

    /// The next `n` bytes.
    pub(crate) fn bytes(&mut self, n: u64) -> Result<&'a [u8], BadPayload> {
        match usize::try_from(n).ok().and_then(|n| self.bytes.split_at_checked(n)) {
            Some((head, tail)) => {
                self.bytes = tail;
                Ok(head)
            }
            None => self.short(),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, BadPayload> {
        match self.bytes.split_first() {
            Some((&byte, tail)) => {
                self.bytes = tail;
                Ok(byte)
            }
            None => self.short(),
        }
    }

    /// One unsigned value; more than 64 bits are an error.
    #[inline]
    pub(crate) fn get(&mut self) -> Result<u64, BadPayload> {
        if let Some((&byte, tail)) = self.bytes.split_first()
            && byte < 0x80
        {
            self.bytes = tail;
            return Ok(u64::from(byte));
        }
        self.get_long()
    }

    fn get_long(&mut self) -> Result<u64, BadPayload> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if shift == 63 && byte > 1 { self.too_long() } else { Ok(value) };
            }
        }
        self.too_long()
    }

    fn too_long(&self) -> Result<u64, BadPayload> {
        Err(BadPayload(format!("{}: a number of more than 64 bits", self.what)))
    }

    #[inline]
    pub(crate) fn get_signed(&mut self) -> Result<i64, BadPayload> {
        let value = self.get()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The payload must be used up.
    pub(crate) fn end(&self) -> Result<(), BadPayload> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(BadPayload(format!("{}: {} bytes too many", self.what, self.bytes.len())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_got(values: Vec<u64>, signed: Vec<i64>) {
            let mut bytes = Vec::new();
            values.iter().for_each(|&v| put(&mut bytes, v));
            signed.iter().for_each(|&v| put_signed(&mut bytes, v));
            let mut cursor = Cursor::new(&bytes, "test");
            for v in values {
                prop_assert_eq!(cursor.get(), Ok(v));
            }
            for v in signed {
                prop_assert_eq!(cursor.get_signed(), Ok(v));
            }
            prop_assert_eq!(cursor.end(), Ok(()));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes, "test");
            while cursor.get().is_ok() {}
        }
    }

    #[test]
    fn a_number_of_65_bits_is_refused() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Cursor::new(&bytes, "test").get().is_err());
    }
}
