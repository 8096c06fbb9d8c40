"""Download a file from the first mirror that delivers it whole, or go on where a download stopped."""
