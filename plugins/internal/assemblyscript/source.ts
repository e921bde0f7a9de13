// Reads the parts of a record that plugins name in their configuration: "key",
// "header:NAME" and "json:PATH".
import { Buf, Bytes, HEADERS, KEY, NULL, Record, VALUE, bytes, isNull, len, lit, ptr, same } from "../../../sdk/assemblyscript/klamm";
import { Paths, text } from "../../../sdk/assemblyscript/json";
import { is, quote } from "../../../sdk/assemblyscript/config";

const FROM_KEY = 0, FROM_HEADER = 1, FROM_JSON = 2;

@final
class Source {
	kind: i32 = FROM_KEY;
	header: Bytes = NULL;
	path: u32 = 0;

	constructor(public text: Bytes) {} // as it was configured
}

const null_ = lit("null");

// str is bytes as a string, for texts about the configuration.
export function str(b: Bytes): string { return String.UTF8.decodeUnsafe(ptr(b), len(b)); }

// quoted is bytes in quotes.
export function quoted(s: Bytes): string {
	const b = new Buf();
	quote(b, s);
	return str(b.get());
}

// Sources are those of one plugin, read together: the value is scanned once.
@final
export class Sources {
	list: Source[] = [];
	paths: Paths = new Paths();
	decoded: Buf = new Buf(); // JSON strings with escapes
	found: bool = false; // the record has a value that was scanned
	isText: bool = false; // what get has returned was a string

	// parse reads a list of sources and returns "", or what is wrong.
	parse(list: Bytes[]): string {
		this.list = [];
		this.paths = new Paths();
		if (list.length == 0) return "the list is empty; it takes \"key\", \"header:NAME\" and \"json:PATH\"";
		for (let i = 0; i < list.length; i++) {
			const wrong = this.parseOne(list[i]);
			if (wrong.length > 0) return wrong;
		}
		return "";
	}

	parseOne(s: Bytes): string {
		const one = new Source(s), n = len(s);
		this.list.push(one);
		if (is(s, "key")) return "";
		if (n > 7 && is(bytes(ptr(s), 7), "header:")) {
			one.kind = FROM_HEADER;
			one.header = bytes(ptr(s) + 7, n - 7);
			return "";
		}
		if (n > 5 && is(bytes(ptr(s), 5), "json:")) {
			const path = bytes(ptr(s) + 5, n - 5);
			one.kind = FROM_JSON;
			one.path = this.paths.paths.length;
			return addPath(this.paths, path);
		}
		return quoted(s) + " is none of \"key\", \"header:NAME\", \"json:PATH\"";
	}

	// fields is what the sources need to see of a record.
	fields(): u8 {
		let f: u8 = 0;
		for (let i = 0; i < this.list.length; i++) {
			const kind = this.list[i].kind;
			f |= kind == FROM_KEY ? KEY : kind == FROM_HEADER ? HEADERS : VALUE;
		}
		return f;
	}

	// keyOnly reports whether the key is the one and only source.
	keyOnly(): bool { return this.list.length == 1 && this.list[0].kind == FROM_KEY; }

	// open makes r the record that get reads; false when its value is no JSON where JSON is
	// needed. A null value has no fields and is no error.
	open(r: Record): bool {
		if (this.paths.paths.length == 0) return true;
		const doc = r.value();
		this.decoded.n = 0;
		this.found = !isNull(doc);
		return !this.found || this.paths.scan(doc);
	}

	// get returns source i of the record, null when it is missing or null. A JSON string
	// comes decoded; another JSON value as it is written, with isText false.
	get(r: Record, i: i32): Bytes {
		const one = unchecked(this.list[i]);
		this.isText = true;
		if (one.kind == FROM_KEY) return r.key();
		if (one.kind == FROM_HEADER) {
			const h = r.header(one.header);
			return h < 0 ? NULL : r.headerValue(h);
		}
		const raw = this.found ? this.paths.last(one.path) : NULL;
		if (isNull(raw) || same(raw, null_)) return NULL;
		const value = text(raw, this.decoded);
		if (!isNull(value)) return value;
		this.isText = false;
		return raw;
	}
}

// addPath adds a path and returns "", or what is wrong with it.
export function addPath(paths: Paths, path: Bytes): string {
	if (paths.paths.length == 64) return "more than 64 JSON paths";
	const wrong = paths.add(path);
	return wrong.length > 0 ? "path " + quoted(path) + ": " + wrong : "";
}
