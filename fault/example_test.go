package fault_test

import (
	"errors"
	"fmt"

	"github.com/moneta-pay/moneta/fault"
)

func ExampleNew() {
	err := fault.New(fault.InsufficientFunds, "12.00 CZK are available").
		WithOp("ledger.Hold").WithParam("/amount").WithResource("acct_01")
	fmt.Println(err)
	fmt.Println(fault.HTTPStatus(err.Code), err.MoneyState, err.Retry)
	// Output:
	// ledger.Hold: insufficient-funds: 12.00 CZK are available
	// 422 not_moved never
}

func ExampleCodeOf() {
	err := fault.Wrap("commit.Submit", errors.New("connection reset"))
	fmt.Println(fault.CodeOf(err), fault.MoneyStateOf(err))
	fmt.Println(errors.Is(err, fault.Internal))
	// Output:
	// internal unknown_will_resolve
	// true
}
