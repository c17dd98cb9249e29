package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// The hot answers are written by hand: reflection would be a third of what the
// edge costs. A test holds this file against encoding/json.

// appendPayment appends p as encoding/json would write it.
func appendPayment(b []byte, p *Payment) []byte {
	b = append(b, `{"id":`...)
	b = appendText(b, p.ID)
	b = appendMember(b, `,"object":`, p.Object)
	b = appendMember(b, `,"kind":`, p.Kind)
	b = appendMember(b, `,"state":`, p.State)
	b = appendMember(b, `,"status":`, p.Status)
	b = appendMember(b, `,"amount":`, p.Amount)
	b = appendMember(b, `,"asset":`, p.Asset)
	b = appendMember(b, `,"fee":`, p.Fee)
	b = appendOptional(b, `,"from":`, p.From)
	b = appendOptional(b, `,"to":`, p.To)
	b = appendOptional(b, `,"channel":`, p.Channel)
	if p.Payee != nil {
		b = appendMember(b, `,"payee":{"account":`, p.Payee.Account)
		b = append(appendOptional(b, `,"name":`, p.Payee.Name), '}')
	}
	b = appendOptional(b, `,"reference":`, p.Reference)
	b = appendOptional(b, `,"remittance":`, p.Remittance)
	if len(p.Metadata) > 0 {
		b = append(append(b, `,"metadata":`...), p.Metadata...)
	}
	b = appendInstant(b, `,"effective_at":`, &p.EffectiveAt)
	b = appendInstant(b, `,"created_at":`, &p.CreatedAt)
	b = appendInstant(b, `,"final_at":`, p.FinalAt)
	b = appendMember(b, `,"settlement":`, p.Settlement)
	if p.Attempt != 0 {
		b = strconv.AppendInt(append(b, `,"attempt":`...), int64(p.Attempt), 10)
	}
	b = appendOptional(b, `,"hop":`, p.Hop)
	b = appendInstant(b, `,"next_at":`, p.NextAt)
	b = appendInstant(b, `,"deadline":`, p.Deadline)
	b = appendOptional(b, `,"original":`, p.Original)
	b = appendOptional(b, `,"link":`, p.Link)
	b = appendOptional(b, `,"disposition":`, p.Disposition)
	b = appendOptional(b, `,"refunded":`, p.Refunded)
	b = appendInstant(b, `,"expires_at":`, p.ExpiresAt)
	b = appendOptional(b, `,"captured":`, p.Captured)
	b = appendOptional(b, `,"remaining":`, p.Remaining)
	b = appendOptional(b, `,"reason":`, p.Reason)
	return append(appendMember(b, `,"trace_id":`, p.TraceID), '}')
}

func appendMember(b []byte, name, value string) []byte { return appendText(append(b, name...), value) }

func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendMember(b, name, value)
}

// appendInstant appends a member for an instant in UTC, nothing for nil.
func appendInstant(b []byte, name string, t *time.Time) []byte {
	if t == nil {
		return b
	}
	b = append(append(b, name...), '"')
	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

// appendText appends s as a JSON string. Nearly every string here is plain; what
// is not goes to encoding/json, which knows all the rules.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always has a form
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// replyPaymentJSON writes one payment.
func (c *call) replyPaymentJSON(status int, p *Payment) error {
	c.buf.Reset()
	b := appendPayment(c.buf.AvailableBuffer(), p)
	c.buf.Write(append(b, '\n'))
	c.write(status, typeJSON)
	return nil
}

// replyBatch writes the answers of a batch.
func (c *call) replyBatch(answers []BatchAnswer) error {
	c.buf.Reset()
	b := append(c.buf.AvailableBuffer(), `{"object":"list","data":[`...)
	for i := range answers {
		a := &answers[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"status":`...), int64(a.Status), 10)
		if a.Payment != nil {
			b = appendPayment(append(b, `,"payment":`...), a.Payment)
		}
		if a.Replayed {
			b = append(b, `,"replayed":true`...)
		}
		if a.Problem != nil {
			problem, err := json.Marshal(a.Problem)
			if err != nil {
				return err
			}
			b = append(append(b, `,"problem":`...), problem...)
		}
		b = append(b, '}')
	}
	c.buf.Write(append(b, `],"has_more":false}`+"\n"...))
	c.write(http.StatusOK, typeJSON)
	return nil
}
