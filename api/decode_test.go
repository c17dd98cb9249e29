package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/intake"
)

func decodePayment(b []byte) (r intake.Request, err error) {
	err = decodeObject(b, func(d *decoder, name []byte) error { return member(d, name, &r) })
	return r, err
}

// FuzzDecodePayment holds the decoder against encoding/json: what it takes, Go's
// decoder takes too and reads alike. (The other way round it is stricter.)
func FuzzDecodePayment(f *testing.F) {
	for _, s := range []string{
		`{"kind":"send","from":"acct_1","to":"acct_2","amount":"70000","asset":"CZK","effective_at":"1993-01-05T00:00:03Z"}`,
		` { "payee" : { "account":"1" , "name":"\u010d\ud83d\ude00\n" } , "metadata":{"a":"b","":"\\\"\/"} } `,
		`{"remittance":"\ud800"}`, `{"amount":1}`, `{"amount":null}`, `{"a":"b"}`, `{}`, `{"kind":"x","kind":"y"}`, `{"metadata":{}}`, `[`, `{"to":"` + "\xff" + `"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := decodePayment(b)
		if err != nil {
			code := fault.CodeOf(err)
			require.Contains(t, []fault.Code{fault.MalformedRequest, fault.UnknownField}, code)
			require.Equal(t, fault.NotMoved, fault.MoneyStateOf(err))
			return
		}
		var want NewPayment
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&want))
		if want.Payee == nil {
			want.Payee = &Payee{}
		}
		require.Equal(t, []string{want.Kind, want.From, want.To, want.Channel, want.Payee.Account, want.Payee.Name, want.Amount, want.Asset, want.Remittance},
			[]string{got.Kind, got.From, got.To, got.Channel, got.PayeeAccount, got.PayeeName, got.Amount, got.Asset, got.Remittance})
		require.Equal(t, want.Metadata, got.Metadata)
		if want.EffectiveAt != nil {
			require.True(t, want.EffectiveAt.Equal(got.EffectiveAt))
		}
	})
}

func TestDecodeBounds(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 65 {
		if i > 0 {
			many.WriteByte(',')
		}
		many.WriteString(`"` + strings.Repeat("k", i+1) + `":"v"`)
	}
	_, err := decodePayment([]byte(`{"metadata":{` + many.String() + `}}`))
	require.ErrorIs(t, err, fault.MalformedRequest)
	require.Equal(t, "/metadata", fault.From(err).Param)
	_, err = decodePayment([]byte(`{"metadata":{"a":"1","a":"2"}}`))
	require.Equal(t, "/metadata/a", fault.From(err).Param)
	_, err = decodePayment([]byte(`{"` + strings.Repeat("x", 1000) + `":1}`))
	require.Less(t, len(fault.From(err).Param), 80, "what a caller sent is shown back in part")
}

func TestPatience(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"wait=5": "5s", "WAIT = 5": "5s", `wait="5"`: "5s", "respond-async, wait=5; foo": "5s", "wait=600": "1m0s", "wait=0": "0s",
		"wait=-1": "0s", "wait=x": "0s", "wait": "0s", "": "0s", "wait=99999999999": "0s",
	} {
		require.Equal(t, want, patience(map[string][]string{"Prefer": {header}}).String(), header)
	}
}
