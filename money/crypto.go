package money

// cryptoAssets are counted in the smallest unit that their chain or contract
// declares. A code with a chain behind a point is the same token on that chain;
// it is an asset of its own, because a token on one chain cannot be paid out on
// another, and because its decimals may differ there (USDT has 18 on BSC).
var cryptoAssets = []AssetInfo{
	{"BTC", 0, 8, KindCrypto, "Bitcoin"},
	{"LTC", 0, 8, KindCrypto, "Litecoin"},
	{"DOGE", 0, 8, KindCrypto, "Dogecoin"},
	{"ETH", 0, 18, KindCrypto, "Ether"},
	{"ETH.ARBITRUM", 0, 18, KindCrypto, "Ether on Arbitrum One"},
	{"ETH.BASE", 0, 18, KindCrypto, "Ether on Base"},
	{"ETH.OPTIMISM", 0, 18, KindCrypto, "Ether on OP Mainnet"},
	{"BNB", 0, 18, KindCrypto, "BNB"},
	{"POL", 0, 18, KindCrypto, "POL"},
	{"SOL", 0, 9, KindCrypto, "Solana"},
	{"TRX", 0, 6, KindCrypto, "TRON"},
	{"XRP", 0, 6, KindCrypto, "XRP"},
	{"ADA", 0, 6, KindCrypto, "Cardano"},
	{"XLM", 0, 7, KindCrypto, "Stellar Lumen"},
	{"TON", 0, 9, KindCrypto, "Toncoin"},
	{"USDC", 0, 6, KindCrypto, "USD Coin"},
	{"USDC.ARBITRUM", 0, 6, KindCrypto, "USD Coin on Arbitrum One"},
	{"USDC.BASE", 0, 6, KindCrypto, "USD Coin on Base"},
	{"USDC.ETH", 0, 6, KindCrypto, "USD Coin on Ethereum"},
	{"USDC.POLYGON", 0, 6, KindCrypto, "USD Coin on Polygon PoS"},
	{"USDC.SOLANA", 0, 6, KindCrypto, "USD Coin on Solana"},
	{"USDT", 0, 6, KindCrypto, "Tether USD"},
	{"USDT.BSC", 0, 18, KindCrypto, "Tether USD on BNB Smart Chain"},
	{"USDT.ETH", 0, 6, KindCrypto, "Tether USD on Ethereum"},
	{"USDT.TRON", 0, 6, KindCrypto, "Tether USD on TRON"},
	{"DAI", 0, 18, KindCrypto, "Dai"},
	{"EURC", 0, 6, KindCrypto, "Euro Coin"},
}
