#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| huxiang_fuzz::import_wsdl(bytes));
