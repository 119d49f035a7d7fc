//! A perf record, as it stands in the ring, read by us and by linux-perf-event-reader: both must agree on any bytes.

use linux_perf_event_reader::{
    BranchSampleFormat, Endianness, EventRecord, RawData, RawEventRecord, ReadFormat, RecordIdParseInfo,
    RecordParseInfo, RecordType, SampleFormat,
};
use record::hits::{Hit, Record, Registers, SAMPLED_REGISTERS};

/// Our layout, in the other reader's words.
fn layout() -> RecordParseInfo {
    RecordParseInfo {
        endian: Endianness::LittleEndian,
        sample_format: SampleFormat::IDENTIFIER | SampleFormat::TIME | SampleFormat::REGS_USER,
        branch_sample_format: BranchSampleFormat::empty(),
        read_format: ReadFormat::empty(),
        common_data_offset_from_end: None,
        sample_regs_user: SAMPLED_REGISTERS,
        user_regs_count: SAMPLED_REGISTERS.count_ones() as u8,
        sample_regs_intr: 0,
        intr_regs_count: 0,
        id_parse_info: RecordIdParseInfo {
            nonsample_record_id_offset_from_end: None,
            sample_record_id_offset_from_start: Some(0),
        },
        nonsample_record_time_offset_from_end: None,
        sample_record_time_offset_from_start: Some(8),
    }
}

/// Reads one record both ways.
pub fn run(bytes: &[u8]) {
    assert_eq!(Record::parse(bytes), oracle(bytes));
}

fn oracle(bytes: &[u8]) -> Record {
    let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Record::Other };
    let kind = RecordType(u32::from_le_bytes([header[0], header[1], header[2], header[3]]));
    let misc = u16::from_le_bytes([header[4], header[5]]);
    let wanted = [RecordType::SAMPLE, RecordType::LOST, RecordType::FORK];
    if !wanted.contains(&kind) {
        return Record::Other;
    }
    let record = RawEventRecord::new(kind, misc, RawData::Single(body), layout());
    match record.parse() {
        Ok(EventRecord::Sample(sample)) => {
            let regs = sample.user_regs.as_ref();
            // Numbers of `enum perf_event_x86_regs`.
            let get = |number| regs?.get(number);
            let registers = || Some(Registers { ax: get(0)?, cx: get(2)?, dx: get(3)?, si: get(4)?, di: get(5)? });
            match (sample.id, sample.timestamp, registers()) {
                (Some(id), Some(time), Some(registers)) => Record::Hit(Hit { id, time, registers }),
                // A hit that does not say what was called is a call we have lost.
                _ => Record::Lost(1),
            }
        }
        Err(_) if kind == RecordType::SAMPLE => Record::Lost(1),
        Ok(EventRecord::Lost(lost)) => Record::Lost(lost.count),
        Ok(EventRecord::Fork(fork)) => Record::Fork { pid: fork.pid as u32, tid: fork.tid as u32 },
        _ => Record::Other,
    }
}
