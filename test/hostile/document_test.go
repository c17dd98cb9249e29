package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// document makes a body after its schema; a bent one is no longer what the schema
// says, or no document at all.
func (a *attack) document(g *rand.Rand, s *schema, bent bool) []byte {
	v := a.value(g, s, "", bent, 0)
	raw, err := json.Marshal(v)
	if err != nil {
		return nil // strings, numbers and maps always have a form
	}
	if bent && g.IntN(3) == 0 {
		raw = bendBytes(g, raw)
	}
	return raw
}

// value makes a value of the schema. In a bent document each may be any other.
func (a *attack) value(g *rand.Rand, s *schema, name string, bent bool, depth int) any {
	if s.Ref != "" {
		if named := a.schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]]; named != nil {
			s = named
		}
	}
	if bent && g.IntN(5) == 0 {
		return anything(g)
	}
	switch {
	case len(s.Enum) > 0:
		return pick(g, s.Enum...)
	case s.Type == "object" && s.Properties == nil:
		return map[string]any{pick(g, "a", hostileText(g)): hostileText(g)}
	case s.Type == "object":
		return a.object(g, s, bent, depth)
	case s.Type == "array" && s.Items != nil:
		out := []any{}
		for range g.IntN(4) {
			out = append(out, a.value(g, s.Items, name, bent, depth+1))
		}
		return out
	case s.Type == "integer":
		return g.IntN(100)
	case s.Type == "boolean":
		return g.IntN(2) == 0
	}
	return a.text(g, s, name)
}

func (a *attack) object(g *rand.Rand, s *schema, bent bool, depth int) any {
	out := make(map[string]any)
	if depth > 6 {
		return out
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names) // the same request for the same seed
	for _, name := range names {
		if slices.Contains(s.Required, name) && (!bent || g.IntN(10) != 0) || g.IntN(2) == 0 {
			out[name] = a.value(g, s.Properties[name], name, bent, depth+1)
		}
	}
	if bent && g.IntN(8) == 0 {
		out[hostileText(g)] = anything(g)
	}
	return out
}

// text is a string that means something where it stands, mostly.
func (a *attack) text(g *rand.Rand, s *schema, name string) string {
	if g.IntN(6) == 0 {
		return hostileText(g)
	}
	switch name {
	case "from", "to", "account":
		if names := a.known["account"]; len(names) > 0 {
			return pick(g, names...)
		}
	case "original", "payment":
		if names := a.known["payment"]; len(names) > 0 {
			return pick(g, names...)
		}
	case "amount":
		return fmt.Sprint(1 + g.IntN(50))
	case "expires_at", "effective_at":
		return time.Now().Add(time.Duration(g.IntN(48)-2) * time.Hour).UTC().Format(time.RFC3339)
	}
	if len(s.Examples) > 0 {
		if text, ok := pick(g, s.Examples...).(string); ok {
			return text
		}
	}
	return pick(g, "x", "CZK", "house", hostileText(g))
}

// anything is a JSON value of any kind.
func anything(g *rand.Rand) any {
	switch g.IntN(9) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return json.Number(pick(g, "0", "-1", "1e400", "1.5", strings.Repeat("9", 300), "-0", "1E-400"))
	case 3:
		return []any{hostileText(g), nil, 1}
	case 4:
		return map[string]any{hostileText(g): nil}
	case 5:
		return json.RawMessage(strings.Repeat("[", 5000) + strings.Repeat("]", 5000))
	case 6:
		many := make(map[string]string)
		for i := range 80 {
			many[fmt.Sprint(i)] = "x"
		}
		return many
	}
	return hostileText(g)
}

// bendBytes breaks a document where it is written.
func bendBytes(g *rand.Rand, raw []byte) []byte {
	switch g.IntN(9) {
	case 0:
		return raw[:g.IntN(len(raw)+1)]
	case 1:
		raw[g.IntN(len(raw))] = byte(g.IntN(256))
		return raw
	case 2: // the same member again
		return bytes.Replace(raw, []byte("{"), []byte(`{"kind":"send","kind":"send",`), 1)
	case 3:
		return append(raw, pick(g, "{}", "]", "\x00", " x")...)
	case 4:
		return bytes.ReplaceAll(raw, []byte(`":"`), []byte(pick(g, `":"\u0000`, `":"\ud800`, `":"\xff`, `":"\"`, `":"\u`)))
	case 5:
		return bits(g, g.IntN(300))
	case 6:
		return []byte(strings.Repeat(`{"a":`, 20_000))
	case 7:
		return append(bytes.TrimSuffix(raw, []byte("}")), []byte(`,"zz":"`+strings.Repeat("x", 1<<20)+`"}`)...)
	}
	return []byte{}
}

// file is a statement that is none, or not quite.
func file(g *rand.Rand) []byte {
	const camt = `<?xml version="1.0"?>%s<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt><Id>%s</Id>` +
		`<ElctrncSeqNb>%s</ElctrncSeqNb><CreDtTm>%s</CreDtTm><Acct><Id><Othr><Id>a</Id></Othr></Id><Ccy>CZK</Ccy></Acct>` +
		`<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="CZK">%s</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-01</Dt></Dt></Bal>` +
		`<Ntry><Amt Ccy="CZK">%s</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts></Ntry></Stmt></BkToCstmrStmt></Document>`
	lol := `<!DOCTYPE z [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY x SYSTEM "file:///etc/passwd">]>`
	escape := strings.NewReplacer("<", "&lt;", "&", "&amp;")
	raw := fmt.Appendf(nil, camt, pick(g, "", lol), pick(g, "&c;", "&x;", escape.Replace(hostileText(g))), escape.Replace(hostileText(g)),
		escape.Replace(hostileText(g)), escape.Replace(hostileText(g)), escape.Replace(hostileText(g)))
	switch g.IntN(6) {
	case 0:
		return raw[:g.IntN(len(raw))]
	case 1:
		return []byte(strings.Repeat("<a>", 50_000))
	case 2:
		return []byte("date,amount,id\n" + hostileText(g) + "," + hostileText(g) + ",\"" + hostileText(g))
	case 3:
		return bits(g, g.IntN(2000))
	case 4:
		raw[g.IntN(len(raw))] = byte(g.IntN(256))
	}
	return raw
}
