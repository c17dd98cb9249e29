package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moneta-pay/moneta/money"
)

// question is what a command asks the API, and how the answer is shown: a line a row under
// head, a cell for each member that cells name. "a.b" is a member of a member,
// "amount/asset" an amount with its asset, "at@" a moment.
type question struct {
	method, path string
	query        url.Values
	body         any
	head         string
	cells        []string
	none         string
	// shared are members that the rows of the answer do not have themselves, such as the
	// asset of an account's postings.
	shared row
}

type row = map[string]any

// ask asks, and prints the answer.
func (d *CaseDesk) ask(ctx context.Context, a *question) error {
	path := a.path
	for name := range a.query {
		if a.query.Get(name) == "" {
			a.query.Del(name)
		}
	}
	if len(a.query) > 0 {
		path += "?" + a.query.Encode()
	}
	method := a.method
	if method == "" {
		method = http.MethodGet
	}
	raw, err := d.call(ctx, method, path, a.body)
	if err != nil {
		return err
	}
	if d.JSON {
		_, err = d.Out.Write(raw)
		return err
	}
	return d.table(raw, a)
}

// table prints a list, or one thing, of the API.
func (d *CaseDesk) table(raw []byte, a *question) error {
	rows, next, err := answerRows(raw)
	if err != nil {
		return err
	}
	if len(rows) == 0 && next == "" && a.none != "" { // a page of what is filtered may be empty and have more
		_, err := io.WriteString(d.Out, say(d.Lang, a.none))
		return err
	}
	t := tabwriter.NewWriter(d.Out, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, say(d.Lang, a.head))
	for _, r := range rows {
		maps.Copy(r, a.shared)
		for i, cell := range a.cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, orDash(plain(cellOf(r, cell))))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if next != "" {
		_, err = io.WriteString(d.Out, say(d.Lang, "case-more", next))
	}
	return err
}

// answerRows are the rows of a list, or the one thing that the answer is.
func answerRows(raw []byte) (rows []row, next string, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // an amount is never a float
	var whole row
	if err := dec.Decode(&whole); err != nil {
		return nil, "", fmt.Errorf("read the answer: %w", err)
	}
	if whole["object"] != "list" {
		return []row{whole}, "", nil
	}
	data, _ := whole["data"].([]any)
	for _, one := range data {
		r, ok := one.(row)
		if !ok {
			return nil, "", errors.New("read the answer: a row is no object")
		}
		rows = append(rows, r)
	}
	if whole["has_more"] == true {
		next, _ = whole["next"].(string)
	}
	return rows, next, nil
}

func cellOf(r row, cell string) string {
	if at, ok := strings.CutSuffix(cell, "@"); ok {
		when, err := time.Parse(time.RFC3339Nano, textOf(r, at))
		if err != nil {
			return textOf(r, at)
		}
		return stamp(when)
	}
	amount, asset, worth := strings.Cut(cell, "/")
	if !worth {
		return textOf(r, cell)
	}
	text, of := textOf(r, amount), money.Asset(textOf(r, asset))
	if a, err := money.ParseMinor(text); err == nil {
		return money.Format(a, of) + " " + string(of)
	}
	return text
}

func textOf(r row, name string) string {
	var v any = r
	for part := range strings.SplitSeq(name, ".") {
		in, ok := v.(row)
		if !ok {
			return ""
		}
		v = in[part]
	}
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, fmt.Sprint(one))
		}
		return strings.Join(parts, ",")
	default:
		return fmt.Sprint(v)
	}
}
