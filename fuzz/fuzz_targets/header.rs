//! Any bytes as the beginning of a connection that has to begin with a PROXY header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stagedoor::wire::proxy_header::reader::{LARGEST, Progress, read};
use stagedoor::wire::proxy_header::writer::write;

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Ok(Progress::Whole { header, length }) => {
            // Every beginning of it is waited with, and says that it could go on so.
            for end in 0..length {
                match read(&bytes[..end]) {
                    Ok(Progress::Begun { at_least, .. }) => {
                        assert!(end < at_least && at_least <= length);
                    }
                    other => panic!("{other:?} of {end} bytes of {length}"),
                }
            }
            // What is written of it is read as the same; a checksum is of what was read.
            if header.tlvs.checksum_at().is_none() {
                let again = write(&header);
                let length = again.len();
                assert_eq!(read(&again), Ok(Progress::Whole { header, length }));
            }
        }
        Ok(Progress::Begun { at_least, .. }) => {
            assert!(bytes.len() < at_least && at_least <= LARGEST);
        }
        // What was refused stays refused.
        Err(_) => assert!(read(&[bytes, b"x"].concat()).is_err()),
    }
});
