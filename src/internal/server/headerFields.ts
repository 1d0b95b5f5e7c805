/**
 * What may stand in the head of an answer. Where a response is written by hand, as a 101 is, nobody else would notice.
 */
export const isHeaderName = (name: string): boolean => /^[!#$%&'*+.^_`|~\w-]+$/.test(name)

export const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)

/** Headers that say how an answer is to be read: they are the server's own. */
export const isFraming = (name: string): boolean =>
  /^(content-length|transfer-encoding|upgrade|sec-websocket-.*)$/i.test(name)
