//! SHA-256 of FIPS 180-4.

const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

#[inline(never)]
fn block(h: &mut [u32; 8], p: &[u8]) {
    let mut w = [0u32; 64];
    for (w, p) in w.iter_mut().zip(p.chunks_exact(4)) {
        *w = u32::from_be_bytes([p[0], p[1], p[2], p[3]]);
    }
    for i in 16..64 {
        let (x, y) = (w[i - 15], w[i - 2]);
        let low = x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
        let high = y.rotate_right(17) ^ y.rotate_right(19) ^ y >> 10;
        w[i] = w[i - 16].wrapping_add(w[i - 7]).wrapping_add(low).wrapping_add(high);
    }
    let mut v = *h;
    for i in 0..64 {
        let (a, e) = (v[0], v[4]);
        let big = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & v[5]) ^ (!e & v[6]);
        let t = v[7].wrapping_add(big).wrapping_add(choice).wrapping_add(ROUND[i]).wrapping_add(w[i]);
        let small = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]);
        v.copy_within(0..7, 1);
        v[4] = v[4].wrapping_add(t);
        v[0] = t.wrapping_add(small).wrapping_add(majority);
    }
    for (h, v) in h.iter_mut().zip(v) {
        *h = h.wrapping_add(v);
    }
}

pub fn sum(data: &[u8]) -> [u8; 32] {
    let mut h = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    let mut blocks = data.chunks_exact(64);
    for b in &mut blocks {
        block(&mut h, b);
    }
    let rest = blocks.remainder();
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    for b in last[..end].chunks_exact(64) {
        block(&mut h, b);
    }
    let mut out = [0; 32];
    for (out, h) in out.chunks_exact_mut(4).zip(h) {
        out.copy_from_slice(&h.to_be_bytes());
    }
    out
}
