package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/channel"
	"github.com/moneta-pay/moneta/pay/channel/once"
)

// Lengths that the bank accepts, in bytes for the reference and in characters
// for texts.
const (
	maxReference = 64
	maxText      = 140
)

// wireOrder is the body of POST /banks/{code}/payments.
type wireOrder struct {
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	Account    string       `json:"account"`
	Name       string       `json:"name,omitempty"`
	Remittance string       `json:"remittance,omitempty"`
}

// wirePayment answers a payment's POST and GET.
type wirePayment struct {
	Status     string       `json:"status"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Asset      money.Asset  `json:"asset"`
	BankID     string       `json:"bank_id"`
	Reason     string       `json:"reason"`
	Remittance string       `json:"remittance"`
	ExecutedAt time.Time    `json:"executed_at"`
}

// wireLine is one line of GET /banks/{code}/statement.
type wireLine struct {
	Seq        int64        `json:"seq"`
	LineID     string       `json:"line_id"`
	Direction  string       `json:"direction"`
	Reference  string       `json:"reference"`
	Amount     money.Amount `json:"amount"`
	Fee        money.Amount `json:"fee"`
	Asset      money.Asset  `json:"asset"`
	Remittance string       `json:"remittance"`
	BookedAt   time.Time    `json:"booked_at"`
	Return     bool         `json:"return"`
	Reason     string       `json:"reason"`
	BankID     string       `json:"bank_id"`
}

// wireStatement can tell an empty page from an answer that is no
// statement at all.
type wireStatement struct {
	Lines   []wireLine `json:"lines"`
	Next    *int64     `json:"next"`
	HasMore bool       `json:"has_more"`
}

// encodeOrder returns the request body, or false for an order that the bank
// would refuse or that could not be asked for again.
func encodeOrder(order channel.Order) ([]byte, bool) {
	if !goodReference(order.Reference) || order.Amount.Sign() <= 0 || order.Asset == "" ||
		order.Payee.Account == "" || !goodText(order.Payee.Account) ||
		!goodText(order.Payee.Name) || !goodText(order.Remittance) {
		return nil, false
	}
	body, err := json.Marshal(wireOrder{
		Reference: order.Reference, Amount: order.Amount, Asset: order.Asset,
		Account: order.Payee.Account, Name: order.Payee.Name, Remittance: order.Remittance,
	})
	return body, err == nil
}

func goodReference(reference string) bool {
	if reference == "" || len(reference) > maxReference || strings.Trim(reference, ".") == "" {
		return false // "." and ".." would change the query's path
	}
	for _, r := range reference {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	return true
}

// goodName holds for what we compare and keep exactly as the bank wrote it.
func goodName(name string) bool { return name != "" && goodText(name) && clip(name) == name }

func goodText(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= maxText
}

// readSendAnswer believes an answer only when its status is in the contract
// and it repeats the order; anything else leaves the outcome unknown.
func readSendAnswer(word channel.Word, order channel.Order, answer once.Answer) channel.Word {
	word.Verdict = channel.Unknown
	if answer.Status != http.StatusOK && answer.Status != http.StatusAccepted {
		word.Reason = channel.ReasonHTTP
		return word
	}
	var said wirePayment
	if json.Unmarshal(answer.Body, &said) != nil {
		word.Reason = channel.ReasonBody
		return word
	}
	verdict, ok := verdictOf(said.Status)
	switch {
	case !ok:
		word.Reason = channel.ReasonBody
		return word
	case said.Reference != order.Reference || said.Amount != order.Amount || said.Asset != order.Asset:
		word.Reason = channel.ReasonEcho
		return word
	}
	word.Verdict, word.ChannelID, word.Reason = verdict, clip(said.BankID), clip(said.Reason)
	word.Amount, word.Asset, word.OccurredAt = said.Amount, said.Asset, said.ExecutedAt
	return word
}

func readQueryAnswer(word channel.Word, answer once.Answer) channel.Word {
	if answer.Status != http.StatusOK && answer.Status != http.StatusNotFound {
		word.Reason = channel.ReasonHTTP
		return word
	}
	var said wirePayment
	if json.Unmarshal(answer.Body, &said) != nil {
		word.Reason = channel.ReasonBody
		return word
	}
	if said.Reference != word.Reference {
		word.Reason = channel.ReasonEcho
		return word
	}
	if answer.Status == http.StatusNotFound {
		if said.Status != "not_found" {
			word.Reason = channel.ReasonBody // some other 404, perhaps a proxy's
			return word
		}
		word.Verdict = channel.NotFound
		return word
	}
	verdict, ok := verdictOf(said.Status)
	direction, known := directionOf(said.Direction)
	if !ok || !known || said.Amount.Sign() <= 0 || !goodName(string(said.Asset)) {
		word.Reason = channel.ReasonBody
		return word
	}
	word.Verdict, word.Direction = verdict, direction
	word.ChannelID, word.Reason, word.Remittance = clip(said.BankID), clip(said.Reason), clip(said.Remittance)
	word.Amount, word.Asset, word.OccurredAt = said.Amount, said.Asset, said.ExecutedAt
	return word
}

// readCancelAnswer believes a cancellation of our reference and the bank's refusal
// for being too late; any other answer leaves the outcome unknown.
func readCancelAnswer(word channel.Word, answer once.Answer) channel.Word {
	var said struct {
		Status    string `json:"status"`
		Reference string `json:"reference"`
		Error     struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if answer.Status != http.StatusOK && answer.Status != http.StatusConflict {
		word.Reason = channel.ReasonHTTP
		return word
	}
	switch err := json.Unmarshal(answer.Body, &said); {
	case err != nil:
		word.Reason = channel.ReasonBody
	case answer.Status == http.StatusConflict && said.Error.Code == "too_late":
		word.Verdict = channel.Confirmed
	case answer.Status == http.StatusOK && said.Status == "cancelled" && said.Reference == word.Reference:
		word.Verdict, word.Reason = channel.Declined, channel.ReasonCancelledOut
	default:
		word.Reason = channel.ReasonBody
	}
	return word
}

func readStatement(answer once.Answer, after int64) (channel.Statement, error) {
	if answer.Status != http.StatusOK {
		return channel.Statement{}, fmt.Errorf("status %d", answer.Status)
	}
	var said wireStatement
	if err := json.Unmarshal(answer.Body, &said); err != nil {
		return channel.Statement{}, fmt.Errorf("read statement: %w", err)
	}
	if said.Lines == nil || said.Next == nil {
		return channel.Statement{}, errors.New("the answer is not a statement")
	}
	page := channel.Statement{Lines: make([]channel.Line, 0, len(said.Lines)), Next: after, HasMore: said.HasMore}
	for _, line := range said.Lines {
		direction, ok := directionOf(line.Direction)
		if !ok || line.Seq <= page.Next || !goodName(line.LineID) || line.Amount.Sign() <= 0 || !goodName(string(line.Asset)) {
			return channel.Statement{}, fmt.Errorf("line %d after %d is not in the contract", line.Seq, page.Next)
		}
		page.Next = line.Seq
		page.Lines = append(page.Lines, channel.Line{
			Seq: line.Seq, ID: line.LineID, Direction: direction, Reference: clip(line.Reference),
			Amount: line.Amount, Fee: line.Fee, Asset: line.Asset, Remittance: clip(line.Remittance), BookedAt: line.BookedAt,
			Return: line.Return, Reason: clip(line.Reason), ChannelID: clip(line.BankID),
		})
	}
	if *said.Next != page.Next || said.HasMore && len(said.Lines) == 0 {
		return channel.Statement{}, errors.New("the cursor does not follow the lines")
	}
	return page, nil
}

func verdictOf(status string) (channel.Verdict, bool) {
	switch status {
	case "accepted":
		return channel.Acked, true
	case "executed":
		return channel.Confirmed, true
	case "declined":
		return channel.Declined, true
	default:
		return channel.Unknown, false
	}
}

func directionOf(direction string) (channel.Direction, bool) {
	switch direction {
	case "out":
		return channel.Out, true
	case "in":
		return channel.In, true
	default:
		return 0, false
	}
}

// clip bounds what the bank wrote freely before it reaches logs and rows. No
// database takes a NUL in a text: one of them would block all rows beside it.
func clip(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if utf8.RuneCountInString(text) <= maxText {
		return text
	}
	return string([]rune(text)[:maxText])
}
