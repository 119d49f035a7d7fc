//! A perf record, as it stands in the ring, read by us and by linux-perf-event-reader: both must agree on any bytes.

use linux_perf_event_reader::{
    BranchSampleFormat, Endianness, EventRecord, RawData, RawEventRecord, ReadFormat, RecordIdParseInfo,
    RecordParseInfo, RecordType, SampleFormat,
};
use record::hits::{CALLER_REGISTERS, CALLER_STACK, Hit, Record, Registers, SAMPLED_REGISTERS};

/// One of our two layouts, in the other reader's words.
fn layout(registers: u64, more: SampleFormat) -> RecordParseInfo {
    RecordParseInfo {
        endian: Endianness::LittleEndian,
        sample_format: SampleFormat::IDENTIFIER | SampleFormat::TIME | SampleFormat::REGS_USER | more,
        branch_sample_format: BranchSampleFormat::empty(),
        read_format: ReadFormat::empty(),
        common_data_offset_from_end: None,
        sample_regs_user: registers,
        user_regs_count: registers.count_ones() as u8,
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
    match Record::parse(bytes) {
        Record::Called(hit, caller) => assert_eq!(Some((hit, caller.words().collect())), called(bytes)),
        // Its header says all there is to say: bit 13 of the flags, PERF_RECORD_MISC_COMM_EXEC.
        Record::Exec => assert!(bytes.starts_with(&RecordType::COMM.0.to_le_bytes()) && bytes[5] & 0x20 != 0),
        // A sample too long for the short layout, and not whole as a long one.
        Record::Lost(1) if is_long(bytes) => {}
        record => assert_eq!(record, oracle(bytes)),
    }
}

/// Whether it is a sample with more behind its registers.
fn is_long(bytes: &[u8]) -> bool {
    bytes.starts_with(&RecordType::SAMPLE.0.to_le_bytes())
        && bytes.len() > 8 + 8 * (3 + SAMPLED_REGISTERS.count_ones() as usize)
}

/// A hit, and the words that may tell its caller.
fn called(bytes: &[u8]) -> Option<(Hit, Vec<u64>)> {
    let body = bytes.get(8..8 + 8 * (3 + CALLER_REGISTERS.count_ones() as usize) + 16 + CALLER_STACK as usize)?;
    let layout = layout(CALLER_REGISTERS, SampleFormat::STACK_USER);
    let record = RawEventRecord::new(RecordType::SAMPLE, 0, RawData::Single(body), layout);
    let Ok(EventRecord::Sample(sample)) = record.parse() else { return None };
    let regs = sample.user_regs.as_ref()?;
    let get = |number| regs.get(number);
    let registers = Registers { ax: get(0)?, cx: get(2)?, dx: get(3)?, si: get(4)?, di: get(5)? };
    // bx, bp, r12 to r15; then the stack as far as it was filled.
    let mut words = [1, 6, 20, 21, 22, 23].into_iter().map(get).collect::<Option<Vec<u64>>>()?;
    let filled = u64::from_le_bytes(body[body.len() - 8..].try_into().ok()?);
    let stack = &body[body.len() - 8 - CALLER_STACK as usize..body.len() - 8];
    let stack = &stack[..stack.len().min(filled as usize)];
    words.extend(stack.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)));
    Some((Hit { id: sample.id?, time: sample.timestamp?, registers }, words))
}

fn oracle(bytes: &[u8]) -> Record<'_> {
    let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Record::Other };
    let kind = RecordType(u32::from_le_bytes([header[0], header[1], header[2], header[3]]));
    let misc = u16::from_le_bytes([header[4], header[5]]);
    let wanted = [RecordType::SAMPLE, RecordType::LOST, RecordType::FORK];
    if !wanted.contains(&kind) {
        return Record::Other;
    }
    let record =
        RawEventRecord::new(kind, misc, RawData::Single(body), layout(SAMPLED_REGISTERS, SampleFormat::empty()));
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
