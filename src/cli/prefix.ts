/** Where the keys with a common beginning end. */

/** The first key behind all that begin with `prefix`; a single zero byte means: to the end of all keys. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if ((prefix[i] as number) === 255) continue
    const end = prefix.slice(0, i + 1)
    end[i] = (end[i] as number) + 1
    return end
  }
  return new Uint8Array(1)
}
