package api

import "encoding/json"

// examples are the documented bodies of requests, by operation. A test sends each
// of them: accounts …02 and …04 are the first two that an installation opens.
var examples = map[string]json.RawMessage{
	"create-payment": json.RawMessage(`{"kind":"send","from":"acct_0000000000002","to":"acct_0000000000004","amount":"70000","asset":"CZK",` +
		`"remittance":"invoice 2026-1187","metadata":{"invoice":"2026-1187"}}`),
	"create-payments": json.RawMessage(`{"payments":[` +
		`{"idempotency_key":"payroll:2026-11:emp-42","kind":"payout","from":"acct_0000000000002","channel":"bank-ab","payee":{"account":"123456","name":"Jan Novák"},"amount":"1250000","asset":"CZK","remittance":"salary 11/2026"},` +
		`{"idempotency_key":"payroll:2026-11:emp-43","kind":"send","from":"acct_0000000000002","to":"acct_0000000000004","amount":"990000","asset":"CZK"}]}`),
	"capture-payment": json.RawMessage(`{"amount":"2500"}`),
	"open-account":    json.RawMessage(`{"asset":"CZK","name":"Jan Novák"}`),
	"freeze-account":  json.RawMessage(`{"refuses":"debits","reason":"phone reported stolen"}`),
	"thaw-account":    json.RawMessage(`{"reason":"holder proved who he is"}`),
	"set-floor":       json.RawMessage(`{"floor":"-534360"}`),
	"create-key":      json.RawMessage(`{"name":"till 3","scopes":["payments:write","payments:read"]}`),
	"limit-key":       json.RawMessage(`{"writes":{"quota":600,"window_s":60},"reads":{"quota":6000,"window_s":60}}`),
	"create-webhook":  json.RawMessage(`{"url":"https://shop.example/moneta","description":"order system"}`),
}
