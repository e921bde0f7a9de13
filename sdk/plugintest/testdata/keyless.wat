;; A whole plugin without an SDK: it drops records without a key.
(module
  (memory (export "memory") 1)

  ;; The marker: this module speaks major version 1.
  (func (export "klamm_abi_1"))

  ;; Hands out fresh pages, so the block is aligned and nothing else uses it.
  (func (export "klamm_alloc") (param $size i32) (result i32)
    (local $page i32)
    (local.set $page
      (memory.grow (i32.shr_u (i32.add (local.get $size) (i32.const 65535)) (i32.const 16))))
    (if (i32.eq (local.get $page) (i32.const -1))
      (then (return (i32.const 0))))
    (i32.shl (local.get $page) (i32.const 16)))

  ;; Hook mask 1 (on_send) in bits 32-47, field mask 1 (on_send asks for the key)
  ;; in bits 0-5, no error in bits 48-63. The configuration is not read.
  (func (export "klamm_init") (param $ptr i32) (param $len i32) (result i64)
    (i64.const 0x0000000100000001))

  (func (export "klamm_on_send") (param $block i32) (param $len i32) (result i64)
    (local $left i32) (local $record i32) (local $verdict i32)
    (local.set $left (i32.load offset=8 (local.get $block)))              ;; count
    (local.set $record
      (i32.add (local.get $block) (i32.load offset=16 (local.get $block))))  ;; rec_off
    (local.set $verdict
      (i32.add (local.get $block) (i32.load offset=20 (local.get $block))))  ;; verdict_off
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (if (i32.lt_s (i32.load offset=36 (local.get $record)) (i32.const 0))  ;; key_len: null
          (then (i64.store (local.get $verdict) (i64.const 0x00040001))))      ;; DROP, reason 4
        ;; Step by the size that the record's header gives, not by one of our own.
        (local.set $record (i32.add (local.get $record) (i32.load (local.get $record))))
        (local.set $verdict (i32.add (local.get $verdict) (i32.const 8)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (i64.const 0)))
