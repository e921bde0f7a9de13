package conformance

import (
	"slices"
	"strings"
	"time"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Cases returns the table.
func Cases() []Case {
	return slices.Concat(verdictCases(), editCases(), readCases(), areaCases(), hostCases(), notifyCases(), initCases(), faultCases())
}

// say is a record whose value is the script.
func say(lines ...string) Record {
	return Record{Partition: -1, Value: []byte(strings.Join(lines, "\n"))}
}

// sayWith is a record whose key is the script, so that the value can be anything.
func sayWith(value []byte, lines ...string) Record {
	return Record{Partition: -1, Key: []byte("!" + strings.Join(lines, "\n")), Value: value}
}

func (r Record) with(headers ...Header) Record {
	r.Headers = headers
	return r
}

func header(key, value string) Header { return Header{key, []byte(value)} }

func repeat(s string, n int) []byte { return []byte(strings.Repeat(s, n)) }

func verdictCases() []Case {
	ending := []Record{
		say("drop 0"), say("drop 1"), say("drop 2 says why"), say("drop 16 by an hour"), say("drop 17"), say("drop 99"),
		say("fail 0 no"), say("fail 4"), say("dead 2 poison"), say("dead 0"), say("pass"), say(""), {}, {Key: []byte("k")},
	}
	want := []string{
		"drop other", "drop duplicate", `drop invalid "says why"`, `drop conf_first "by an hour"`, "drop conf_second", "drop other",
		`fail other "no"`, "fail missing", `dead_letter invalid "poison"`, "dead_letter other", "pass", "pass", "pass", "pass",
	}
	return []Case{
		{Name: "every verdict that ends a record", Records: ending, Want: want, Effects: []string{logInit}},
		{Name: "the same in on_consume", Hook: abi.OnConsume, Records: ending, Want: want},
		{
			Name:    "route",
			Records: []Record{say("route 3"), say("route 0"), say("route -1"), say("route 2147483647"), say("route 1", "route 2")},
			Want:    []string{"route 3", "route 0", "route -1", "route 2147483647", "route 2"},
		},
		{
			Name:    "a partitioner routes, fails and leaves alone",
			Hook:    abi.Partition,
			Records: []Record{say("route 3"), say("fail 4 no tenant"), say("pass"), {}, say("route -1")},
			Want:    []string{"route 3", `fail missing "no tenant"`, "pass", "pass", "route -1"},
		},
		{
			Name: "the last ending counts, and pass takes everything back",
			Records: []Record{
				say("drop 1", "fail 0 why"), say("fail 0 why", "drop 1"), say("dead 0", "dead 2 x"),
				say("drop 1", "pass"), say("add a b", "pass"), say("route 1", "pass"),
				say("pass", "drop 3"),
			},
			Want: []string{`fail other "why"`, "drop duplicate", `dead_letter invalid "x"`, "pass", "pass", "pass", "drop filtered"},
		},
		{
			Name:    "an ending forgets edits, before and after it",
			Records: []Record{say("add a b", "drop 1", "add c d", "route 4"), say("route 4", "fail 0 x", "value y"), say("dead 0", "key k")},
			Want:    []string{"drop duplicate", `fail other "x"`, "dead_letter other"},
		},
		{
			Name: "texts are cut at 1,024 bytes, not inside of a character, and made UTF-8",
			Records: []Record{
				say("drop 0 " + string(repeat("x", 1024))), say("drop 0 " + string(repeat("x", 1030))),
				say("fail 0 " + string(repeat("x", 1023)) + "\u00fc"), say("fail 0 a\xffb"), say("drop 0 \u65e5\u672c"),
			},
			Want: []string{
				"drop other " + digest(repeat("x", 1024)), "drop other " + digest(repeat("x", 1024)),
				"fail other " + digest(repeat("x", 1023)), `fail other "a` + "\ufffd" + `b"`, `drop other "` + "\u65e5\u672c" + `"`,
			},
		},
		everyVerdict512(),
	}
}

// everyVerdict512 fills a batch, so that nothing is right by being first.
func everyVerdict512() Case {
	c := Case{Name: "512 records, verdicts mixed", Whole: true}
	scripts := []string{"pass", "drop 1", "route 7", "add a b", "fail 0 text", "value other", "dead 2", "", "key ~"}
	wants := []string{"pass", "drop duplicate", "route 7", `edit add a="b"`, `fail other "text"`, `edit value "other"`, "dead_letter invalid", "pass", "edit key null"}
	for i := range abi.BatchMax {
		n := i * 7 % len(scripts)
		c.Records = append(c.Records, say(scripts[n]).with(Header{Key: "n"}))
		c.Want = append(c.Want, wants[n])
	}
	return c
}

func editCases() []Case {
	all := []Record{
		say("add k v"), say("del k"), say("key new"), say("value longer than before"), say("topic quakes"),
		say("time 1767225600999"), say("add k v", "route 5"), say("delat 2"),
	}
	wantAll := []string{
		`edit add k="v"`, "edit remove k", `edit key "new"`, `edit value "longer than before"`, "edit topic quakes",
		"edit time 1767225600999", `edit add k="v", partition 5`, "edit remove_at 2",
	}
	return []Case{
		{Name: "each edit", Records: all, Want: wantAll},
		{
			Name: "the same in on_consume", Hook: abi.OnConsume,
			Records: slices.Delete(slices.Clone(all), 6, 7), Want: slices.Delete(slices.Clone(wantAll), 6, 7),
		},
		{
			Name: "null and empty are two things",
			Records: []Record{
				say("key ~"), say("key "), say("value ~"), say("value "), say("add k ~"), say("add k "), say("add  v"), say("del "),
				sayWith(nil, "value "), sayWith([]byte{}, "value "), sayWith([]byte{}, "value ~"), sayWith(nil, "value ~"),
			},
			Want: []string{
				"edit key null", `edit key ""`, "edit value null", `edit value ""`, "edit add k=null", `edit add k=""`, `edit add ="v"`, "edit remove ",
				`edit value ""`, `in_place ""`, "edit value null", "edit value null",
			},
		},
		{
			Name:    "numbers at their ends",
			Records: []Record{say("time -1"), say("time 9223372036854775807"), say("delat 4294967295"), say("add a b", "route -1")},
			Want:    []string{"edit time -1", "edit time 9223372036854775807", "edit remove_at 4294967295", `edit add a="b", partition -1`},
		},
		{
			Name: "many edits keep their order",
			Records: []Record{
				say("add a 1", "add a 2", "del a", "add a 3", "delat 0", "add a ~", "key k", "key ~", "topic quakes", "time 5", "value v"),
			},
			Want: []string{`edit add a="1", add a="2", remove a, add a="3", remove_at 0, add a=null, key "k", key null, topic quakes, time 5, value "v"`},
		},
		{
			Name: "a value of the same length is written in place",
			Records: []Record{
				sayWith([]byte("abc"), "value xyz"), sayWith([]byte("abc"), "value xyz", "value uvw"), sayWith([]byte("abc"), "value xy"),
				sayWith(repeat("a", 5000), "fill 5000 b"), say("value 1234567"),
			},
			Want: []string{
				`in_place "xyz"`, `in_place "uvw"`, `edit value "xy"`, "in_place " + digest(repeat("b", 5000)), `edit value "1234567"`,
			},
		},
		{
			Name: "what came first goes into the list",
			Records: []Record{
				sayWith([]byte("abc"), "value xyz", "add a b"), sayWith([]byte("abc"), "value xyz", "value longer"),
				sayWith([]byte("abc"), "route 4", "value xyz"), sayWith([]byte("abc"), "value xyz", "route 4"),
				sayWith([]byte("abc"), "add a b", "value xyz"), say("route 4", "key k", "route 5"),
			},
			Want: []string{
				`edit value "xyz", add a="b"`, `edit value "xyz", value "longer"`, `edit partition 4, value "xyz"`,
				`edit value "xyz", partition 4`, `edit add a="b", value "xyz"`, `edit partition 4, key "k", partition 5`,
			},
		},
		{
			Name: "a value that is not in the block is never written in place", Config: `{"fields":1}`,
			Records: []Record{sayWith([]byte("abc"), "value xyz"), sayWith(nil, "value "), sayWith([]byte{}, "value ")},
			Want:    []string{`edit value "xyz"`, `edit value ""`, `edit value ""`},
		},
	}
}

// varied are records that differ in all that can be read.
func varied() []Record {
	dump := []string{"dump"}
	r := []Record{
		sayWith([]byte("value"), dump...).with(header("a", "1"), header("b", ""), Header{Key: "a"}, header("", "x")),
		say(dump...),
		sayWith(nil, dump...).with(Header{}),
		sayWith([]byte{}, dump...),
		sayWith(repeat("v", 3001), dump...).with(header("long", string(repeat("h", 2000)))),
	}
	for i := range r {
		r[i].Timestamp, r[i].Offset, r[i].Partition = nowMS-int64(i), 1<<33+int64(i), int32(i)-1
		r[i].Transactional = i%2 == 1
		if i >= 2 {
			r[i].Topic = "quakes"
		}
	}
	return r
}

// reads is a case in which each record says what it can read.
func reads(name string, h abi.Hook, fields abi.Fields, config string, records []Record) Case {
	c := Case{Name: name, Hook: h, Config: config, Records: records}
	for i := range records {
		c.Want = append(c.Want, `edit add dump=`+show([]byte(dumpOf(h, i, &records[i], fields))))
	}
	return c
}

func readCases() []Case {
	const everything = abi.Fields(63)
	keyed := []Record{
		sayWith([]byte("x"), "dump").with(header("a", "1"), Header{Key: "b"}), sayWith(nil, "dump"),
		sayWith([]byte{}, "dump").with(header("c", "")), sayWith(repeat("z", 100_000), "dump"),
	}
	large := []Record{
		sayWith(repeat("0123456789", 130_000), "dump").with(header("a", "1")), sayWith([]byte("small"), "dump"),
		sayWith(nil, "dump").with(slices.Repeat([]Header{header("k", string(repeat("h", 1024))), {Key: "null"}}, 300)...),
		sayWith(repeat("y", 1_100_000), "dump"),
	}
	growing := []Record{sayWith([]byte("small"), "dump")}
	for i := range 9 {
		growing = append(growing, sayWith(repeat(string(rune('a'+i)), 100_000), "dump"))
	}
	growing = append(growing, sayWith([]byte("small"), "dump"))
	cases := []Case{
		reads("everything that can be read", abi.OnSend, everything, "", varied()),
		reads("the same in on_consume", abi.OnConsume, everything, "", varied()),
		reads("values and headers too large for the block are pulled", abi.OnSend, everything, "", large),
		reads("the block grows", abi.OnSend, everything, "", growing),
		{
			Name: "headers of one key",
			Records: []Record{
				say("last a", "all a").with(header("a", "1"), header("b", "2"), header("a", "3")),
				say("last a", "all a").with(header("a", "1"), Header{Key: "a"}),
				say("last a", "all a").with(header("aa", "1"), header("", "2"), header("b", "a")),
				say("last ", "all ").with(header("a", "1"), header("", "2")),
				say("last a", "all a"),
			},
			Want: []string{
				`edit add last="` + digest([]byte("3")) + `", add all="` + digest([]byte("1")) + "," + digest([]byte("3")) + `"`,
				`edit add last="~", add all="` + digest([]byte("1")) + `,~"`,
				`edit add last="none", add all=""`,
				`edit add last="` + digest([]byte("2")) + `", add all="` + digest([]byte("2")) + `"`,
				`edit add last="none", add all=""`,
			},
		},
		reads("asked for: no field", abi.OnSend, 0, `{"fields":0}`, []Record{say("dump"), say("dump").with(header("a", "1"))}),
		{
			Name: "headers that were not asked for are pulled", Config: `{"fields":1}`,
			Records: []Record{sayWith(nil, "last a", "all a").with(header("a", "1"), header("b", "2"), Header{Key: "a"})},
			Want:    []string{`edit add last="~", add all="` + digest([]byte("1")) + `,~"`},
		},
	}
	for _, f := range []struct {
		name   string
		fields abi.Fields
		config string
	}{
		{"the key alone", abi.FieldKey, `{"fields":1}`},
		{"key and value", abi.FieldKey | abi.FieldValue, `{"fields":3}`},
		{"key and headers", abi.FieldKey | abi.FieldHeaders, `{"fields":5}`},
		{"key and timestamp", abi.FieldKey | abi.FieldTimestamp, `{"fields":9}`},
		{"key and topic facts", abi.FieldKey | abi.FieldTopicFacts, `{"fields":17}`},
		{"key, topic facts and load", abi.FieldKey | abi.FieldTopicFacts | abi.FieldLoad, `{"fields":49}`},
	} {
		cases = append(cases, reads("asked for: "+f.name, abi.OnSend, f.fields, f.config, keyed))
	}
	return cases
}

func areaCases() []Case {
	grows := Case{Name: "a full modification area grows, and nothing counts twice", Whole: true, Rewinds: true}
	parts := Case{Name: "an area that cannot grow is answered in parts", Whole: true, Parts: true, OutputMax: 16 << 10}
	texts := Case{Name: "so are texts", Whole: true, Parts: true, OutputMax: 16 << 10}
	mixed := Case{Name: "a list that does not fit any more is made anew", Whole: true, Parts: true, OutputMax: 16 << 10}
	for i := range 8 {
		grows.Records = append(grows.Records, say("count a 1", "observe 3", "put k v", "fill 40000 x"))
		grows.Want = append(grows.Want, "edit value "+digest(repeat("x", 40000)))
		parts.Records = append(parts.Records, say("count a 1", "observe "+string(rune('0'+i)), "put k v", "fill 5000 x", "count b 10"))
		parts.Want = append(parts.Want, "edit value "+digest(repeat("x", 5000)))
		mixed.Records = append(mixed.Records, say("count a 1", "add a 1", "fill 2000 y", "addfill h 2000 z", "count a 1", "drop 1", "pass", "route 3", "fill 3000 y"))
		mixed.Want = append(mixed.Want, "edit partition 3, value "+digest(repeat("y", 3000)))
	}
	for range 40 {
		texts.Records = append(texts.Records, say("drop 3 "+string(repeat("t", 1000)), "count a 2"))
		texts.Want = append(texts.Want, "drop filtered "+digest(repeat("t", 1000)))
	}
	sums := func(a, b string, observed ...string) []string {
		out := []string{logInit, "sum conf_a_total " + a}
		if b != "" {
			out = append(out, "sum conf_b_total "+b)
		}
		return append(out, observed...)
	}
	put := `put k="v" for 0`
	grows.Effects = sums("8", "", append(slices.Repeat([]string{"observe conf_h 3"}, 8), slices.Repeat([]string{put}, 8)...)...)
	var observed []string
	for i := range 8 {
		observed = append(observed, "observe conf_h "+string(rune('0'+i)))
	}
	parts.Effects = sums("8", "80", append(observed, slices.Repeat([]string{put}, 8)...)...)
	texts.Effects = sums("80", "")
	mixed.Effects = sums("16", "")
	return []Case{
		grows, parts, texts, mixed,
		{
			Name: "an edit beyond the output limit", Whole: true, OutputMax: 16 << 10, Records: []Record{say("fill 20000 x")},
			Fault: [2]string{"verdict", "edit too large"},
		},
		{
			Name: "3 MB of edits", Whole: true, Rewinds: true, Records: []Record{say("fill 3000000 x"), say("pass")},
			Want: []string{"edit value " + digest(repeat("x", 3_000_000)), "pass"},
		},
	}
}

func hostCases() []Case {
	const ttl = `{"ttl_ms":90000}`
	keyed := func(key string, lines ...string) Record {
		r := say(lines...)
		if key != "" {
			r.Key = []byte(key)
		}
		return r
	}
	return []Case{
		{
			Name: "claims", Config: ttl,
			Records: []Record{say("claim new"), say("claim old"), say("claim flying"), say("claim a", "claim old 1", "claim b")},
			Want:    []string{`edit add claim="1"`, `edit add claim="0"`, `edit add claim="2"`, `edit add claim="1", add claim="0", add claim="1"`},
		},
		{
			Name: "claims of a whole batch", Config: ttl,
			Records: []Record{keyed("a", "claimkeys"), keyed("old", "claimkeys"), keyed("", "claimkeys"), keyed("flying", "claimkeys"), keyed("b", "claimkeys")},
			Want:    []string{`edit add fresh="1"`, `edit add fresh="0"`, `edit add fresh="0"`, `edit add fresh="0"`, `edit add fresh="1"`},
		},
		{
			Name: "what is put can be got", Config: `{"ttl_ms":5}`,
			Records: []Record{
				say("get k"), say("put k one"), say("get k"), say("put k two", "get k"), say("put e ", "get e"),
				say("put long "+string(repeat("l", 3000)), "get long"), say("get long"),
			},
			Want: []string{
				"edit add got=null", "pass", `edit add got="one"`, `edit add got="two"`, `edit add got=""`,
				"edit add got=" + digest(repeat("l", 3000)), "edit add got=" + digest(repeat("l", 3000)),
			},
			Effects: []string{logInit, `put k="one" for 5`, `put k="two" for 5`, `put e="" for 5`, "put long=" + digest(repeat("l", 3000)) + " for 5"},
		},
		{
			Name:    "hmac, random, clocks, murmur2",
			Records: []Record{say("hmac pepper The quick brown fox jumps over the lazy dog"), say("hmac salt x"), say("random"), say("now"), say("clock"), say("murmur 21"), say("murmur foobar"), say("murmur ")},
			Want: []string{
				`edit add hmac="f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"`, "edit add hmac=null", `edit add random="differ"`, `edit add now="ok"`,
				`edit add clock="1767225600123"`, `edit add murmur="1173551340"`, `edit add murmur="1357151166"`, `edit add murmur="275646681"`,
			},
		},
		{
			Name:    "log lines, counters, observations",
			Records: []Record{say("log 0 finest", "log 1 fine"), say("log 2 not so", "count a 5"), say("log 3 bad", "count a 1", "count b 1000000000000"), say("observe 0", "observe 250", "count a 0"), say("log 1 " + string(repeat("x", 1000)))},
			Want:    []string{"pass", "pass", "pass", "pass", "pass"},
			Effects: []string{
				logInit, "log 0 finest", "log 1 fine", "log 2 not so", "log 3 bad", "log 1 " + string(repeat("x", 1000)),
				"sum conf_a_total 6", "sum conf_b_total 1000000000000", "observe conf_h 0", "observe conf_h 250",
			},
		},
	}
}

// logInit is what the guest says when it starts.
const logInit = "log 1 init plugin=conf chain=chain client=client lane=1/3 topics=orders,qu*"

func notifyCases() []Case {
	acks := Case{Name: "acknowledgements", Hook: abi.OnAcknowledgement, Records: varied(), Effects: []string{logInit}}
	kinds := []Ack{
		{}, {Error: 7, Flags: abi.AckRetried, Latency: 1500 * time.Microsecond}, {Error: -1, Flags: abi.AckAborted | abi.AckEarlierGeneration},
		{Flags: abi.AckDropped, Reason: 17, Plugin: 3}, {Error: -6, Flags: 1 << 20, Latency: time.Hour, Reason: 1},
	}
	var sum int32
	for i := range acks.Records {
		acks.Records[i].Ack = kinds[i]
		acks.Effects = append(acks.Effects, ackLine(i, &acks.Records[i]))
		sum += kinds[i].Error
	}
	acks.Effects = append(acks.Effects, "sum conf_a_total 5")
	many := Case{Name: "512 acknowledgements", Hook: abi.OnAcknowledgement, Whole: true, Effects: []string{logInit}}
	commits := Case{Name: "commits", Hook: abi.OnCommit, Effects: []string{logInit}}
	for i := range abi.BatchMax {
		r := Record{Key: repeat("k", i%40), Partition: int32(i), Ack: Ack{Error: int32(i%19) - 6}}
		many.Records = append(many.Records, r)
		many.Effects = append(many.Effects, ackLine(i, &r))
	}
	many.Effects = append(many.Effects, "sum conf_a_total 512")
	commits.Records = []Record{{Partition: 0, Offset: 1}, {Topic: "quakes", Partition: 11, Offset: 1<<40 + 5}, {Partition: 2, Offset: 0}}
	commits.Effects = append(commits.Effects, "log 1 commit orders/0@1", "log 1 commit quakes/11@1099511627781", "log 1 commit orders/2@0", "sum conf_b_total 3")
	return []Case{acks, many, commits}
}

func initCases() []Case {
	dropped := []Record{say("drop 1")}
	return []Case{
		{Name: "what the guest is told at its start", Records: dropped, Want: []string{"drop duplicate"}, Effects: []string{logInit}},
		{Name: "a table with spaces, escapes and big numbers", Config: " { \"ttl_ms\" : 9007199254741 , \"\\u0066ields\":\n2}", Records: []Record{say("put a b")}, Want: []string{"pass"},
			Effects: []string{logInit, `put a="b" for 9007199254741`}},
		{Name: "a hook that is exported and not in the mask", Config: `{"hooks":1}`, Hook: abi.OnConsume, Records: dropped, Want: []string{"pass"}},
		{Name: "no hook at all", Config: `{"hooks":0}`, Refused: "wants no hook"},
		{Name: "the guest refuses its configuration", Config: `{"refuse":"not \"today\"\u0021"}`, Refused: `error code 1: not "today"!`},
		{Name: "an unknown key", Config: `{"feilds":1}`, Refused: `error code 5: unknown config key "feilds"; did you mean "fields"?`},
		{Name: "a key that is like no other", Config: `{"xyzzy":1}`, Refused: `unknown config key "xyzzy"; known are fields, hooks, refuse, ttl_ms`},
		{Name: "a value of another type", Config: `{"fields":"x","hooks":1.5,"refuse":true}`,
			Refused: `config key "fields": "x" is not a whole number; config key "hooks": 1.5 is not a whole number; config key "refuse": true is not a string`},
		{Name: "no JSON", Config: `{"fields":`, Refused: "error code 5"},
	}
}

func faultCases() []Case {
	guest := func(code, text string) [2]string { return [2]string{"guest_error", "error code " + code + text} }
	one := func(lines ...string) []Record { return []Record{say("pass"), say(lines...), say("pass")} }
	return []Case{
		{Name: "an error of the guest", Records: one("error no luck"), Fault: guest("1", ": no luck")},
		{Name: "a verb that there is not", Records: one("dorp 1"), Fault: guest("1", `: no verb "dorp"`)},
		{Name: "an error code in on_consume", Hook: abi.OnConsume, Records: one("error x"), Fault: guest("1", ": x")},
		{Name: "an error code of a partitioner", Hook: abi.Partition, Records: one("error x"), Fault: guest("1", ": x")},
		{Name: "a trap", Records: one("trap"), Fault: [2]string{"trap", ""}},
		{Name: "a claim that the host refuses", Config: `{"ttl_ms":90000}`, Records: one("claim refused"), Fault: guest("4", "")},
		{Name: "a batch of claims that the host refuses", Records: []Record{{Partition: -1, Key: []byte("a"), Value: []byte("claimkeys")}}, Fault: guest("4", "")},
		{Name: "a claim without the key", Config: `{"ttl_ms":90000,"fields":2}`, Records: one("claimkeys"), Fault: guest("4", "")},
		{Name: "a put that the host refuses", Records: one("put refused x"), Fault: guest("4", "")},
		{Name: "a partitioner has no claims", Config: `{"ttl_ms":90000}`, Hook: abi.Partition, Records: one("claim a"), Fault: guest("4", "")},
		{Name: "a partitioner has no state", Hook: abi.Partition, Records: one("put a b"), Fault: guest("4", "")},
		{Name: "a partitioner cannot drop", Hook: abi.Partition, Records: one("drop 1"), Fault: [2]string{"verdict", "not allowed in partition"}},
		{Name: "a partitioner cannot edit", Hook: abi.Partition, Records: one("add a b"), Fault: [2]string{"verdict", "not allowed in partition"}},
		{Name: "on_consume cannot route", Hook: abi.OnConsume, Records: one("route 1"), Fault: [2]string{"verdict", "not allowed in on_consume"}},
	}
}
