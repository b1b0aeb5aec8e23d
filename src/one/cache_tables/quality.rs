//! The column of a dataset's quality: words with an order, of which pandas knows the order by that of the column's
//! dictionary. Parquet's writers put words into a dictionary as they meet them, so this column's pages are made
//! here: a dictionary page with all words in their order, and a page of places in it (Parquet's "RLE_DICTIONARY").

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::Result,
    file::{
        metadata::ColumnChunkMetaData,
        writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite},
    },
    schema::types::ColumnDescriptor,
};

use crate::alyx::cache_tables::QUALITY;

/// The words, in their order.
pub(super) const WORDS: [(i64, &str); 5] = QUALITY;
/// Bits that a place among five takes.
const BITS: u8 = 3;

/// The place of a number of the database.
pub(super) fn place(number: i64) -> u8 {
    let found = WORDS.iter().position(|(known, _)| *known == number).unwrap_or_default();
    u8::try_from(found).unwrap_or_default()
}

/// Adds the column's pages to a row group.
pub(super) fn append<W: std::io::Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    description: Arc<ColumnDescriptor>,
    places: &[u8],
) -> Result<()> {
    let mut sink = TrackedWrite::new(Vec::new());
    let mut pages = SerializedPageWriter::new(&mut sink);
    let words = dictionary();
    let length = words.len();
    let dictionary = Page::DictionaryPage {
        buf: words,
        num_values: u32::try_from(WORDS.len()).unwrap_or_default(),
        encoding: Encoding::PLAIN,
        is_sorted: false,
    };
    let first = pages.write_page(CompressedPage::new(dictionary, length))?;
    let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
    let packed = packed(places);
    let length = packed.len();
    let data = Page::DataPage {
        buf: packed,
        num_values: count,
        encoding: Encoding::RLE_DICTIONARY,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    };
    let second = pages.write_page(CompressedPage::new(data, length))?;
    pages.close()?;
    let bytes = sink.into_inner()?;
    let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let metadata = ColumnChunkMetaData::builder(description)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
        .set_compression(Compression::UNCOMPRESSED)
        .set_num_values(i64::from(count))
        .set_total_compressed_size(size)
        .set_total_uncompressed_size(size)
        .set_dictionary_page_offset(Some(i64::try_from(first.offset).unwrap_or_default()))
        .set_data_page_offset(i64::try_from(second.offset).unwrap_or_default())
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: u64::from(count),
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: None,
    };
    rows.append_column(&Bytes::from(bytes), close)
}

/// All words, each behind its length.
fn dictionary() -> Bytes {
    let mut bytes = Vec::new();
    for (_, word) in WORDS {
        bytes.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.into()
}

/// The width in bits, then one run of places packed into three bits each, eight at a time, the lowest bits first.
fn packed(places: &[u8]) -> Bytes {
    let groups = places.chunks(8);
    let mut bytes = vec![BITS];
    // The number of groups of eight, and a 1 for "packed"; seven bits a byte, the lowest first.
    let mut header = (groups.len() as u64) << 1 | 1;
    loop {
        let [low, ..] = header.to_le_bytes();
        header >>= 7;
        if header == 0 {
            bytes.push(low & 0x7f);
            break;
        }
        bytes.push(low | 0x80);
    }
    for group in groups {
        let bits = group.iter().rev().fold(0_u32, |bits, place| bits << BITS | u32::from(*place));
        bytes.extend_from_slice(&bits.to_le_bytes()[..usize::from(BITS)]);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_packed_as_parquet_says() {
        // The example of Parquet's documentation: 0 to 7 in three bits each.
        let bytes = packed(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(bytes.as_ref(), [3, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        assert_eq!(packed(&vec![0; 8 * 64]).as_ref()[..3], [3, 0x81, 0x01]);
        assert_eq!(place(40), 3);
    }
}
