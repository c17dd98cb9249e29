package money_test

import (
	"errors"
	"fmt"

	"github.com/moneta-pay/moneta/money"
)

func ExampleParse() {
	rent, err := money.Parse("700.00", "CZK")
	fmt.Println(rent, err)

	_, err = money.Parse("700.005", "CZK")
	fmt.Println(errors.Is(err, money.ErrScale))
	// Output:
	// 70000 <nil>
	// true
}

func ExampleFormat() {
	wei := money.MustParseMinor("1500000000000000000")
	fmt.Println(money.Format(wei, "ETH"))
	fmt.Println(money.Format(money.Int(-5), "CZK"))
	// Output:
	// 1.500000000000000000
	// -0.05
}

func ExampleAmount_Add() {
	_, err := money.Max.Add(money.Int(1))
	fmt.Println(err)
	// Output: money: amount does not fit in 128 bits
}
