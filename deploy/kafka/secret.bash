# The value of a secret; a weak one stops the start.
secret() {
    local value
    value=$(tr -d '\r\n' <"$secrets/$1") || { echo "${0##*/}: expected a secret in $secrets/$1" >&2; exit 2; }
    if ! [[ $value =~ ^[A-Za-z0-9_.~-]{16,}$ ]]; then
        echo "${0##*/}: $secrets/$1: expected 16 or more of A-Z a-z 0-9 _ . ~ -" >&2
        exit 2
    fi
    printf '%s' "$value"
}
