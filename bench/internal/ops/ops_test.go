package ops

import "testing"

func TestAppendMasked(t *testing.T) {
	for _, tt := range []struct{ name, doc, want string }{
		{"last member", `{"a":1,"email":"x@y"}`, `{"a":1,"email":"***"}`},
		{"only member", `{"email":"x@y"}`, `{"email":"***"}`},
		{"spaces", `{ "email" : "x@y" , "b":2}`, `{ "email" : "***", "b":2}`},
		{"number", `{"email":12,"b":2}`, `{"email":"***","b":2}`},
		{"object", `{"email":{"a":[1,2],"b":"}"},"b":2}`, `{"email":"***","b":2}`},
		{"quoted quote", `{"a":"\"email\":\"","email":"\"x"}`, `{"a":"\"email\":\"","email":"***"}`},
		{"deeper one is not meant", `{"a":{"email":"x"},"email":"y"}`, `{"a":{"email":"x"},"email":"***"}`},
		{"a value of that text", `{"a":"email","b":2}`, ""},
		{"none", `{"a":1}`, ""},
		{"cut short", `{"email":"x`, `{"email":"***"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := AppendMasked(nil, []byte(tt.doc))
			if string(got) != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
		})
	}
}

func TestAppendRewritten(t *testing.T) {
	if got, want := string(AppendRewritten([]byte("-"), []byte(`{"a":1}`))), `-{"seen":true,"a":1}`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The hashes are those of Kafka's own tests for its murmur2.
func TestMurmur2(t *testing.T) {
	for _, tt := range []struct {
		key  string
		want int32
	}{
		{"21", -973932308},
		{"foobar", -790332482},
		{"a-little-bit-long-string", -985981536},
		{"a-little-bit-longer-string", -1486304829},
		{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
		{"abc", 479470107},
	} {
		if got := int32(murmur2([]byte(tt.key))); got != tt.want {
			t.Errorf("murmur2(%q) = %d, want %d", tt.key, got, tt.want)
		}
	}
	if p := Partition([]byte("21")); p < 0 || p >= Partitions {
		t.Errorf("partition %d", p)
	}
}

func TestNumber(t *testing.T) {
	for i, op := range All() {
		if Number(op) != i {
			t.Errorf("Number(%q) = %d, want %d", op, Number(op), i)
		}
	}
	if Number("none") != -1 {
		t.Error("an unknown operation has a number")
	}
}
