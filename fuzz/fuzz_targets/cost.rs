#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| alyx_proxy_fuzz::cost(data));
