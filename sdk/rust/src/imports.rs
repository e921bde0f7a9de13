//! The host's functions, as docs/abi.md has them.

#[link(wasm_import_module = "klamm")]
extern "C" {
    pub fn log(level: i32, p: *const u8, n: usize);
    pub fn metric_def(kind: i32, p: *const u8, n: usize) -> i32;
    pub fn reason_def(code: i32, p: *const u8, n: usize);
    pub fn metric_add(id: i32, delta: i64);
    pub fn metric_observe(id: i32, v: f64);
    pub fn claim(i: u32, k: *const u8, klen: usize, ttl_ms: i64) -> i32;
    pub fn claim_batch(mask: *mut u64, ttl_ms: i64) -> i32;
    pub fn state_get(k: *const u8, klen: usize, v: *mut u8, cap: usize) -> i32;
    pub fn state_put(k: *const u8, klen: usize, v: *const u8, vlen: usize, ttl_ms: i64) -> i32;
    pub fn now_ns() -> i64;
    pub fn random(p: *mut u8, n: usize);
    pub fn hmac(name: *const u8, nlen: usize, p: *const u8, n: usize, out: *mut u8) -> i32;
    pub fn value(i: u32, p: *mut u8, cap: usize) -> i32;
    pub fn headers(i: u32, p: *mut u8, cap: usize) -> i32;
}
