package fault

import (
	"net/http"
	"time"
)

// table is the single description of every code. Append only: see Code.
var table = []Entry{
	{
		Code: MalformedRequest, Status: http.StatusBadRequest, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The request is malformed", "请求格式错误"},
		Cause: Text{
			"The body is not valid JSON, a member has the wrong type, or a parameter cannot be read. Amounts are strings of minor units (\"1234\"), times are RFC 3339.",
			"请求体不是合法的 JSON、字段类型不对，或参数无法解析。金额是最小单位的字符串（\"1234\"），时间采用 RFC 3339 格式。",
		},
		Fix: Text{
			"Correct the member that `param` points to and send the request again. The idempotency key is not used up.",
			"按 `param` 指出的字段修正后重新发送。幂等键不会被占用。",
		},
	},
	{
		Code: UnknownField, Status: http.StatusBadRequest, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The request has an unknown field", "请求包含未知字段"},
		Cause: Text{
			"The body has a member that this operation does not know. Unknown members are refused, so that a misspelt one cannot change what happens to money unnoticed.",
			"请求体含有此操作不认识的字段。未知字段一律拒绝，以免拼写错误悄悄改变资金去向。",
		},
		Fix: Text{
			"Remove or rename the member that `param` points to. The idempotency key is not used up.",
			"删除或改正 `param` 指出的字段。幂等键不会被占用。",
		},
	},
	{
		Code: IdempotencyKeyMissing, Status: http.StatusBadRequest, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The idempotency key is missing", "缺少幂等键"},
		Cause: Text{
			"Every request that may move money needs an `Idempotency-Key` header (in a batch, an `idempotency_key` on each item), so that a repeat after a lost answer cannot pay twice.",
			"凡是可能动用资金的请求都必须带 `Idempotency-Key` 请求头（批量请求则每项带 `idempotency_key`），这样在响应丢失后重发也不会重复付款。",
		},
		Fix: Text{
			"Create one key per intended payment, store it with your order before the first attempt, and send it with every attempt.",
			"为每笔要做的付款生成一个键，在首次发送前与订单一起保存，并在每次尝试时带上它。",
		},
	},
	{
		Code: IdempotencyKeyInvalid, Status: http.StatusBadRequest, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The idempotency key is not valid", "幂等键无效"},
		Cause: Text{
			"The key is empty, longer than 255 characters, or holds characters other than printable ASCII.",
			"幂等键为空、超过 255 个字符，或含有可打印 ASCII 以外的字符。",
		},
		Fix: Text{
			"Use 1 to 255 printable ASCII characters; a UUID is a good key.",
			"使用 1 到 255 个可打印 ASCII 字符；UUID 是不错的选择。",
		},
	},
	{
		Code: IdempotencyKeyReused, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The idempotency key was used for another request", "幂等键已用于另一请求"},
		Cause: Text{
			"A request with this key but another content was accepted before; `resource` names what it made. This request did nothing.",
			"之前已接受过使用同一幂等键但内容不同的请求，其结果见 `resource`。本次请求未做任何事。",
		},
		Fix: Text{
			"If you meant the earlier payment, read `resource`. If this is a new payment, send it with a new key.",
			"若指的是先前那笔付款，请查询 `resource`；若确是新的付款，请换一个新的键。",
		},
	},
	{
		Code: IdempotencyInFlight, Status: http.StatusConflict, Retry: SafeSameKey, MoneyState: UnknownWillResolve, RetryAfter: time.Second,
		Title: Text{"The same request is still being carried out", "相同请求正在处理中"},
		Cause: Text{
			"Another request with this key is being decided right now and did not finish within this request's deadline.",
			"使用同一幂等键的另一请求正在处理，且未能在本次请求的期限内完成。",
		},
		Fix: Text{
			"Wait for `Retry-After` and send the same request with the same key: it returns the outcome and never pays twice.",
			"等待 `Retry-After` 指定的时间后，用同一个键重发相同请求：它会返回结果，绝不会重复付款。",
		},
	},
	{
		Code: Unauthenticated, Status: http.StatusUnauthorized, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The API key is missing or not valid", "API 密钥缺失或无效"},
		Cause: Text{
			"There is no `Authorization: Bearer mk_…` header, or the key is unknown, revoked or expired. For an operator: the signature, the code or the session does not hold; `detail` says why.",
			"没有 `Authorization: Bearer mk_…` 请求头，或密钥不存在、已吊销或已过期。对运营人员：签名、验证码或会话无效，原因见 `detail`。",
		},
		Fix: Text{
			"Send a valid API key. An operator lists and creates keys with `moneta key`, and signs as docs/operators.md says.",
			"请使用有效的 API 密钥。运营人员可用 `moneta key` 查看和创建密钥，其签名方式见 docs/operators.md。",
		},
	},
	{
		Code: Forbidden, Status: http.StatusForbidden, Retry: Never, MoneyState: NotMoved,
		Title: Text{"This key may not do that", "该密钥无权执行此操作"},
		Cause: Text{
			"The API key is valid but does not have the scope that this operation needs, or the operator does not have the role.",
			"API 密钥有效，但不具备此操作所需的权限范围，或运营人员不具备所需角色。",
		},
		Fix: Text{
			"Use a key with the scope named in `detail`, or ask the operator to grant it.",
			"使用具有 `detail` 所述权限的密钥，或请运营人员授权。",
		},
	},
	{
		Code: NotFound, Status: http.StatusNotFound, Retry: Never, MoneyState: NotMoved,
		Title: Text{"There is no such resource", "资源不存在"},
		Cause: Text{
			"The path is unknown, or no resource with this id exists for your key.",
			"路径不存在，或在您的密钥范围内没有此 ID 的资源。",
		},
		Fix: Text{
			"Check the id and its prefix (`acct_`, `pay_`). To find a payment after a lost answer, ask by its idempotency key.",
			"请核对 ID 及其前缀（`acct_`、`pay_`）。若因响应丢失要找回付款，请按幂等键查询。",
		},
	},
	{
		Code: MethodNotAllowed, Status: http.StatusMethodNotAllowed, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The method is not allowed here", "不支持该请求方法"},
		Cause: Text{
			"The path exists but does not answer to this HTTP method.",
			"该路径存在，但不支持此 HTTP 方法。",
		},
		Fix: Text{
			"Use a method from the `Allow` header; `/openapi.json` lists every operation.",
			"请使用 `Allow` 响应头列出的方法；`/openapi.json` 列有全部操作。",
		},
	},
	{
		Code: BodyTooLarge, Status: http.StatusRequestEntityTooLarge, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The body is too large", "请求体过大"},
		Cause: Text{
			"The body is longer than this operation accepts, or a batch holds more than its maximum of items. Nothing of it was carried out.",
			"请求体超过此操作允许的大小，或批量项数超过上限。其中任何部分都未执行。",
		},
		Fix: Text{
			"Send fewer items in each batch, or less metadata.",
			"减少每批的项数，或减少元数据。",
		},
	},
	{
		Code: UnsupportedMediaType, Status: http.StatusUnsupportedMediaType, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The content type is not supported", "不支持该内容类型"},
		Cause: Text{
			"The `Content-Type` header names something other than JSON.",
			"`Content-Type` 请求头不是 JSON。",
		},
		Fix: Text{
			"Send JSON with `Content-Type: application/json`.",
			"发送 JSON，并设置 `Content-Type: application/json`。",
		},
	},
	{
		Code: InsufficientFunds, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"There is not enough money", "余额不足"},
		Cause: Text{
			"The available balance of the paying account would fall below its floor. Money that is held or on the way does not count as available.",
			"付款账户的可用余额将低于其下限。冻结中或在途的资金不计入可用余额。",
		},
		Fix: Text{
			"Lower the amount or add money to the account. Then pay with a new idempotency key: this refusal is stored under the old one.",
			"减少金额或为账户充值，然后使用新的幂等键付款：本次拒绝已记录在旧键之下。",
		},
	},
	{
		Code: AccountNotFound, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"An account of the payment does not exist", "付款涉及的账户不存在"},
		Cause: Text{
			"The account named in `from` or `to` does not exist for your key; `param` says which of them.",
			"`from` 或 `to` 所指账户在您的密钥范围内不存在；`param` 指明是哪一个。",
		},
		Fix: Text{
			"Correct the account id and send the payment with a new idempotency key.",
			"改正账户 ID，并使用新的幂等键发送付款。",
		},
	},
	{
		Code: AccountFrozen, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The account is frozen", "账户已冻结"},
		Cause: Text{
			"An operator or a safety rule has frozen an account of this payment. Its money is safe and stays where it is.",
			"运营人员或安全规则冻结了此笔付款涉及的账户。资金安全，仍在原处。",
		},
		Fix: Text{
			"Contact support about the account in `resource`. After it is released, pay with a new idempotency key.",
			"就 `resource` 所示账户联系客服。解冻后使用新的幂等键付款。",
		},
	},
	{
		Code: AccountClosed, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The account is closed", "账户已关闭"},
		Cause: Text{
			"An account of this payment is closed and takes part in no more payments.",
			"此笔付款涉及的账户已关闭，不再参与任何付款。",
		},
		Fix: Text{
			"Use another account.",
			"请使用其他账户。",
		},
	},
	{
		Code: AssetMismatch, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The assets do not match", "资产不一致"},
		Cause: Text{
			"The payment's asset differs from the asset of one of its accounts or of its channel. Nothing is converted implicitly.",
			"付款的资产与其账户或渠道的资产不同。系统不会自动兑换。",
		},
		Fix: Text{
			"Pay between accounts of one asset, and name that asset in the request.",
			"请在同一资产的账户之间付款，并在请求中注明该资产。",
		},
	},
	{
		Code: AssetUnknown, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The asset is unknown", "资产未知"},
		Cause: Text{
			"No asset with this code is registered. Codes are upper case and match exactly.",
			"没有登记此代码的资产。代码为大写，须完全一致。",
		},
		Fix: Text{
			"Use an ISO 4217 code such as `CZK`, or a crypto asset that this installation knows, such as `USDC`.",
			"使用 ISO 4217 代码（如 `CZK`），或本系统已登记的加密资产（如 `USDC`）。",
		},
	},
	{
		Code: AmountInvalid, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The amount is not valid", "金额无效"},
		Cause: Text{
			"The amount is not a positive whole number of minor units written as a string, or lies outside the limits of this operation.",
			"金额不是以字符串表示的最小单位正整数，或超出此操作的限额。",
		},
		Fix: Text{
			"Send the amount in the smallest unit without sign, point or leading zeros: `\"70000\"` is 700.00 CZK.",
			"以最小单位发送金额，不带符号、小数点或前导零：`\"70000\"` 即 700.00 CZK。",
		},
	},
	{
		Code: ChannelUnknown, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The channel is unknown", "渠道未知"},
		Cause: Text{
			"No channel of this name is configured, or it does not serve this kind of payment.",
			"没有配置此名称的渠道，或该渠道不支持此类付款。",
		},
		Fix: Text{
			"Use a configured channel; an operator lists them with `moneta channel`.",
			"使用已配置的渠道；运营人员可用 `moneta channel` 查看。",
		},
	},
	{
		Code: SameAccount, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The payer and the payee are the same account", "付款方与收款方为同一账户"},
		Cause: Text{
			"`from` and `to` name one account, so the payment would move nothing.",
			"`from` 与 `to` 是同一账户，付款不会转移任何资金。",
		},
		Fix: Text{
			"Name two different accounts.",
			"请指定两个不同的账户。",
		},
	},
	{
		Code: FloorInvalid, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The floor is not valid", "余额下限无效"},
		Cause: Text{
			"A floor is the lowest available balance of an account, at most zero; the one given is positive, is not a whole number of minor units, or lies above the current balance.",
			"下限是账户可用余额的最低值，不得大于零；所给的值为正数、不是最小单位的整数，或高于当前余额。",
		},
		Fix: Text{
			"Send `\"0\"` for no overdraft, or a negative number of minor units such as `\"-534360\"`.",
			"不允许透支请发送 `\"0\"`，否则发送负的最小单位整数，如 `\"-534360\"`。",
		},
	},
	{
		Code: HouseAccountForbidden, Status: http.StatusForbidden, Retry: Never, MoneyState: NotMoved,
		Title: Text{"House accounts need an admin key", "内部账户需要管理员密钥"},
		Cause: Text{
			"Only an admin key may create a house account or pay from one, because a house account has no floor.",
			"内部账户没有余额下限，因此只有管理员密钥才能创建内部账户或从中付款。",
		},
		Fix: Text{
			"Use an admin key, or an account of kind `user`.",
			"使用管理员密钥，或使用 `user` 类型的账户。",
		},
	},
	{
		Code: IllegalTransition, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The payment cannot do that in its present state", "付款当前状态不允许此操作"},
		Cause: Text{
			"The payment's state has no legal move of this kind. It may have moved on since you last read it.",
			"付款的当前状态不存在此种合法变更。自您上次读取后它可能已有变化。",
		},
		Fix: Text{
			"Read the payment in `resource` and decide on its state of now.",
			"查询 `resource` 所示付款，根据其当前状态再作决定。",
		},
	},
	{
		Code: NotCancellable, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The payment can no longer be cancelled", "付款已无法取消"},
		Cause: Text{
			"An attempt was already sent to the channel, so only the channel's word can end the payment. This request changed nothing; the payment goes on.",
			"付款已发往渠道，只有渠道的答复才能终结它。本次请求未改变任何事，付款继续进行。",
		},
		Fix: Text{
			"Wait for the final state. If the payment succeeds and was not wanted, ask the payee for a refund.",
			"请等待最终状态。若付款成功而并非本意，请向收款方申请退款。",
		},
	},
	{
		Code: AmountExceedsRemaining, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The amount is more than what remains", "金额超过剩余额度"},
		Cause: Text{
			"Earlier captures have taken a part of the hold, and this one asks for more than the rest. Nothing was taken.",
			"先前的请款已取走预授权的一部分，本次请款超过剩余额度。未取走任何资金。",
		},
		Fix: Text{
			"Read the hold in `resource`: its `remaining` is the most that can be captured. Capture less with a new idempotency key.",
			"查询 `resource` 所示预授权，其 `remaining` 为可请款上限。请使用新的幂等键请款较小金额。",
		},
	},
	{
		Code: AlreadyFinal, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The payment is already final", "付款已是最终状态"},
		Cause: Text{
			"The payment has reached its final state and does not change any more. This request moved nothing; what the payment itself did is in its state.",
			"付款已到达最终状态，不再变化。本次请求未动用资金；付款本身的结果见其状态。",
		},
		Fix: Text{
			"Read the payment in `resource`. To move money again, make a new payment.",
			"查询 `resource` 所示付款。如需再次转账，请新建付款。",
		},
	},
	{
		Code: PaymentQuarantined, Status: http.StatusConflict, Retry: Never, MoneyState: UnknownWillResolve,
		Title: Text{"The payment is set aside for people to look at", "付款已隔离，等待人工处理"},
		Cause: Text{
			"A step of this payment failed in a way that repeats, so it was set aside with a case and an owner to protect all other payments. It is not lost.",
			"此付款的某一步反复失败，为保护其他付款已被单独隔离，并建立工单由专人负责。它没有丢失。",
		},
		Fix: Text{
			"Do not pay again. Follow the payment in `resource`: the case ends in a final state.",
			"请勿重复付款。关注 `resource` 所示付款：工单会给出最终结果。",
		},
	},
	{
		Code: CaseClosed, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The case is closed", "工单已关闭"},
		Cause: Text{
			"Somebody has closed this case; `detail` says who and when. A closed case never opens again, so that its log stays what it was.",
			"该工单已被关闭；`detail` 说明由谁、何时关闭。已关闭的工单不会重新打开，其记录保持不变。",
		},
		Fix: Text{
			"Read the resolution with GET /v1/cases/{number}. If the matter is not settled, appeal again or wait for the next sweep: each opens a new case that names this one.",
			"请通过 GET /v1/cases/{number} 查看处理结论。若问题未解决，请再次申诉或等待下一次巡检：会建立新的工单。",
		},
	},
	{
		Code: CaseFull, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The case takes no more notes", "工单备注已满"},
		Cause: Text{
			"A case keeps a bounded number of notes, and this one has them all.",
			"每个工单保留的备注数量有限，该工单已达上限。",
		},
		Fix: Text{
			"Keep further material elsewhere, and close the case with a resolution that says where.",
			"请将更多材料保存在别处，并在关闭工单时于结论中注明位置。",
		},
	},
	{
		Code: RateLimited, Status: http.StatusTooManyRequests, Retry: After, MoneyState: NotMoved, RetryAfter: time.Second,
		Title: Text{"Too many requests", "请求过于频繁"},
		Cause: Text{
			"Your key has sent more requests than its rate allows. This one was not looked at and its idempotency key is not used up.",
			"您的密钥请求频率超过限制。本次请求未被处理，幂等键未被占用。",
		},
		Fix: Text{
			"Wait for `Retry-After` and send the same request with the same key; spread the load with jitter.",
			"等待 `Retry-After` 后用同一个键重发；请加入随机间隔以分散负载。",
		},
	},
	{
		Code: Overloaded, Status: http.StatusServiceUnavailable, Retry: After, MoneyState: NotMoved, RetryAfter: time.Second,
		Title: Text{"The service has more work than it can take", "服务负载已满"},
		Cause: Text{
			"The queue to the ledger is full. The request was refused at the door rather than kept waiting, and its idempotency key is not used up.",
			"账本队列已满。请求在入口即被拒绝而未排队等待，幂等键未被占用。",
		},
		Fix: Text{
			"Wait for `Retry-After` and send the same request with the same key, backing off exponentially.",
			"等待 `Retry-After` 后用同一个键重发，并采用指数退避。",
		},
	},
	{
		Code: NotLeader, Status: http.StatusServiceUnavailable, Retry: SafeSameKey, MoneyState: NotMoved, RetryAfter: time.Second,
		Title: Text{"No node leads this part of the ledger right now", "账本当前暂无主节点"},
		Cause: Text{
			"Leadership is being handed over, which takes a few seconds. The request was not handed to the ledger.",
			"主节点正在切换，通常只需几秒。请求未送达账本。",
		},
		Fix: Text{
			"Send the same request with the same key after `Retry-After`.",
			"在 `Retry-After` 之后用同一个键重发相同请求。",
		},
	},
	{
		Code: CommitUnknown, Status: http.StatusServiceUnavailable, Retry: SafeSameKey, MoneyState: UnknownWillResolve, RetryAfter: 2 * time.Second,
		Title: Text{"It is not known yet whether the request took effect", "请求是否生效尚待确认"},
		Cause: Text{
			"The connection to the database or to the leading node was lost at the moment of commitment. The service is finding out which way it went.",
			"在提交的瞬间与数据库或主节点的连接中断。系统正在查明结果。",
		},
		Fix: Text{
			"Send the same request with the same key: you get the outcome, and nothing is paid twice. Never use a new key for this payment.",
			"用同一个键重发相同请求：您会得到结果，且不会重复付款。切勿为此笔付款更换新的键。",
		},
	},
	{
		Code: DatabaseUnavailable, Status: http.StatusServiceUnavailable, Retry: SafeSameKey, MoneyState: NotMoved, RetryAfter: 2 * time.Second,
		Title: Text{"The database cannot be reached", "数据库暂时无法访问"},
		Cause: Text{
			"The request was not given to the database because there is no connection to it. Payments under way are kept and go on when it is back.",
			"由于没有数据库连接，请求未提交。进行中的付款均已保存，恢复后继续处理。",
		},
		Fix: Text{
			"Send the same request with the same key after `Retry-After`.",
			"在 `Retry-After` 之后用同一个键重发相同请求。",
		},
	},
	{
		Code: DatabaseUnsafe, Status: http.StatusServiceUnavailable, Retry: After, MoneyState: NotMoved, RetryAfter: 30 * time.Second,
		Title: Text{"The database is not safe for money", "数据库不满足资金安全要求"},
		Cause: Text{
			"The database runs with a setting, a clock or a history under which a confirmed payment could be lost, so nothing is accepted until it is put right.",
			"数据库的设置、时钟或历史可能导致已确认的付款丢失，因此在纠正之前不接受任何请求。",
		},
		Fix: Text{
			"Callers: wait, then send the same request with the same key. Operators: `moneta diagnose` names the setting and the remedy.",
			"调用方：稍候用同一个键重发。运营人员：`moneta diagnose` 会指出问题设置及处理办法。",
		},
	},
	{
		Code: ReadOnly, Status: http.StatusLocked, Retry: After, MoneyState: NotMoved, RetryAfter: 30 * time.Second,
		Title: Text{"The service is read-only for now", "服务暂处只读模式"},
		Cause: Text{
			"An operator or a safety rule has switched writing off to protect money while something is repaired. Reading works; the switch has an owner and an expiry.",
			"为在修复期间保护资金，运营人员或安全规则已暂停写入。查询不受影响；该开关有负责人和到期时间。",
		},
		Fix: Text{
			"Wait for `Retry-After` and send the same request with the same key.",
			"等待 `Retry-After` 后用同一个键重发相同请求。",
		},
	},
	{
		Code: IntakePaused, Status: http.StatusServiceUnavailable, Retry: After, MoneyState: NotMoved, RetryAfter: 30 * time.Second,
		Title: Text{"New payments of this kind are not taken for now", "暂不受理此类新支付"},
		Cause: Text{
			"An operator has paused new payments, all of them or those of a kind, channel or tenant, while something is repaired. The detail says why and until when. Payments that were taken before go on; a key that is known is answered.",
			"运营人员在修复期间暂停受理新支付（全部，或某一类型、渠道或租户）。详情说明原因与截止时间。此前已受理的支付继续处理；已知幂等键照常应答。",
		},
		Fix: Text{
			"Wait for `Retry-After`, which is the end of the pause at the latest, and send the same request with the same key. Tell the holder that nothing has moved.",
			"等待 `Retry-After`（即暂停的最迟结束时间）后用同一个键重发相同请求，并告知用户资金未动。",
		},
	},
	{
		Code: ChannelUnavailable, Status: http.StatusServiceUnavailable, Retry: After, MoneyState: NotMoved, RetryAfter: 30 * time.Second,
		Title: Text{"The channel takes no payments right now", "渠道暂不可用"},
		Cause: Text{
			"The channel is paused or its circuit breaker is open, and no other channel serves this payment. Nothing was sent.",
			"渠道已暂停或其熔断器已打开，且没有其他渠道可用。未向外发送任何指令。",
		},
		Fix: Text{
			"Wait for `Retry-After` and send the same request with the same key, or choose another channel with a new key.",
			"等待 `Retry-After` 后用同一个键重发，或换用其他渠道并使用新的键。",
		},
	},
	{
		Code: SignatureInvalid, Status: http.StatusUnauthorized, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The signature does not verify", "签名验证失败"},
		Cause: Text{
			"A callback's signature is missing, is made with another secret, is too old, or the body was changed on the way. Such a message never moves money.",
			"回调的签名缺失、所用密钥不符、已过期，或正文在途中被改动。此类消息绝不会动用资金。",
		},
		Fix: Text{
			"Sign the raw bytes of the body with the channel's current secret and a fresh timestamp; check both clocks.",
			"用渠道当前的密钥和新的时间戳对正文原始字节签名，并核对双方时钟。",
		},
	},
	{
		Code: ReferenceUnknown, Status: http.StatusNotFound, Retry: Never, MoneyState: NotMoved,
		Title: Text{"No payment has this reference", "没有对应此参考号的付款"},
		Cause: Text{
			"A channel or a caller names a reference that belongs to none of our payments. If money came with it, reconciliation opens a break with an owner.",
			"渠道或调用方给出的参考号不属于任何一笔付款。若随之有资金到账，对账会建立差异并指派负责人。",
		},
		Fix: Text{
			"Check the reference and the channel. For money that has arrived, follow the break in reconciliation.",
			"核对参考号与渠道。若资金已到账，请跟进对账差异。",
		},
	},
	{
		Code: ReceiptsUnavailable, Status: http.StatusServiceUnavailable, Retry: After, MoneyState: NotMoved, RetryAfter: 30 * time.Second,
		Title: Text{"This node signs no receipts for now", "本节点暂不签发回执"},
		Cause: Text{
			"Receipts of this installation were signed with a key that is not in this node's key file, or the file cannot be read. What this node signed could not be verified with the keys that other nodes publish.",
			"本系统曾用某个密钥签发回执，而该密钥不在本节点的密钥文件中，或该文件无法读取；本节点签发的回执可能无法用其他节点公布的公钥验证。",
		},
		Fix: Text{
			"Ask again after `Retry-After`; another node may answer, and receipts that were saved stay valid. Operators: give every node the same `receipts_key_file`, with the public half of every key that ever signed, and start the node again; `/readyz` and the log say what is wrong.",
			"在 `Retry-After` 之后重试（其他节点可能可以签发）；已保存的回执依然有效。运营人员：为所有节点配置相同的 `receipts_key_file`，并保留所有用过的公钥，然后重启该节点；`/readyz` 与日志会说明原因。",
		},
	},
	{
		Code: StatementRefused, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The statement was refused", "对账单被拒收"},
		Cause: Text{
			"The file is cut off, garbled, about a day that is not over, or does not add up. It is taken whole or not at all: nothing of it was kept.",
			"文件被截断、损坏、所属日期尚未结束，或余额与明细不符。文件要么整份接收，要么完全不接收：其内容均未保存。",
		},
		Fix: Text{
			"Ask the channel for the whole file; `detail` says where it is wrong. One that only does not balance can be taken with a reason, and is then a break.",
			"请向渠道索取完整文件；`detail` 指出问题所在。仅余额不符的文件可附理由接收，并会记为差异。",
		},
	},
	{
		Code: StatementChanged, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The statement was imported before with other content", "同一对账单曾以不同内容导入"},
		Cause: Text{
			"A statement of this channel with this id was taken before, and this file says something else. Statements are never replaced.",
			"该渠道的同编号对账单已导入，而本文件内容不同。对账单不会被替换。",
		},
		Fix: Text{
			"Ask the channel which of the two is true. A correction comes as a statement of its own.",
			"请渠道确认以哪份为准。更正应以新的对账单提供。",
		},
	},
	{
		Code: PeriodClosed, Status: http.StatusUnprocessableEntity, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The period is closed", "会计期间已关闭"},
		Cause: Text{
			"The value date lies in a period whose books are closed. They are never opened again.",
			"起息日落在已关账的期间内。已关账的期间不会重新打开。",
		},
		Fix: Text{
			"Date it in the open period; `detail` says when that begins. A correction of something in the closed period is a new payment dated in the open one.",
			"请将日期改到开放期间，`detail` 说明其开始时间。对已关账期间的更正，应以开放期间内的新付款入账。",
		},
	},
	{
		Code: ApprovalRequired, Status: http.StatusForbidden, Retry: Never, MoneyState: NotMoved,
		Title: Text{"This needs the approval of two people", "此操作需要双人审批"},
		Cause: Text{
			"The installation has operators who may approve. What gives power or credit away is then done by an approval only: one operator proposes the exact action, another one approves it.",
			"系统中已有可审批的运营人员。凡授予权限或额度的操作，都须经审批：由一名运营人员提出确切的操作，由另一名批准。",
		},
		Fix: Text{
			"Propose the action with `moneta approve propose` or `POST /v1/approvals` and have another operator approve it; see docs/operators.md.",
			"用 `moneta approve propose` 或 `POST /v1/approvals` 提出该操作，并请另一名运营人员批准；参见 docs/operators.md。",
		},
	},
	{
		Code: ApprovalOwn, Status: http.StatusForbidden, Retry: Never, MoneyState: NotMoved,
		Title: Text{"Nobody approves what they proposed", "不能审批自己提出的操作"},
		Cause: Text{
			"The operator who proposed an action wants to approve or reject it.",
			"提出操作的运营人员试图自行批准或驳回。",
		},
		Fix: Text{
			"Ask another operator with the role approver or admin. To take a proposal back, withdraw it.",
			"请另一名角色为 approver 或 admin 的运营人员处理。若要收回提议，请撤回。",
		},
	},
	{
		Code: ApprovalChanged, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The action is not the one that was seen", "操作与所见内容不一致"},
		Cause: Text{
			"The hash of the action as it is stored differs from the one in the request, or from the one that was approved. Nothing was carried out.",
			"所存操作的哈希与请求中的、或与批准时的不同。未执行任何操作。",
		},
		Fix: Text{
			"Look at the approval again and compare every parameter. If it was approved already, withdraw it, tell security, and propose anew.",
			"请重新查看审批并逐项核对参数。若已批准，请撤回、通知安全人员，并重新提出。",
		},
	},
	{
		Code: ApprovalClosed, Status: http.StatusConflict, Retry: Never, MoneyState: NotMoved,
		Title: Text{"The approval is not open for this", "审批当前不允许此操作"},
		Cause: Text{
			"It waits for approval, or was rejected, withdrawn, has expired, or was used: an approval counts once. Or one of its two people was disabled.",
			"审批尚待批准，或已驳回、撤回、过期或使用：每个审批只能使用一次。也可能其中一人已被停用。",
		},
		Fix: Text{
			"Read the approval: its state and outcome tell what happened. If the action is still wanted, propose it anew.",
			"请查看审批：其状态和结果说明了经过。若仍需执行，请重新提出。",
		},
	},
	{
		Code: Timeout, Status: http.StatusGatewayTimeout, Retry: SafeSameKey, MoneyState: UnknownWillResolve, RetryAfter: 2 * time.Second,
		Title: Text{"The answer did not come in time", "处理超时"},
		Cause: Text{
			"The request's deadline passed before its outcome was known. It may still take effect; a timeout is not a failure.",
			"在得知结果之前请求已超过期限。它仍可能生效；超时不等于失败。",
		},
		Fix: Text{
			"Send the same request with the same key, or ask for the payment by its idempotency key. Never use a new key for this payment.",
			"用同一个键重发相同请求，或按幂等键查询付款。切勿为此笔付款更换新的键。",
		},
	},
	{
		Code: Internal, Status: http.StatusInternalServerError, Retry: SafeSameKey, MoneyState: UnknownWillResolve, RetryAfter: 2 * time.Second,
		Title: Text{"Something went wrong on our side", "系统内部错误"},
		Cause: Text{
			"The service met a condition that it does not know. It cannot promise yet what happened to the request, and it will find out.",
			"服务遇到了未知情况，暂时无法确定请求的结果，系统会自行查明。",
		},
		Fix: Text{
			"Send the same request with the same key. If it persists, give support the `trace_id`.",
			"用同一个键重发相同请求。若持续出现，请将 `trace_id` 提供给客服。",
		},
	},
}
