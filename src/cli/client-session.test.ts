import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tlsHint } from './client-session.ts'

test('where a connection was made and TLS may be what is wrong, the hint says so', () => {
  const cases: [reason: string, speaksTls: boolean, hint: RegExp | undefined][] = [
    ['nothing listens there', false, undefined],
    ['nothing listens there', true, undefined],
    ['127.0.0.1:7701 ended the connection', false, /If it speaks TLS, give its authority: --tls-ca/],
    ['the TLS handshake failed (EPROTO)', true, /may speak no TLS: leave out --tls-ca/],
    ['read ECONNRESET', true, /may speak no TLS/],
    ['its TLS certificate is not trusted (SELF_SIGNED_CERT_IN_CHAIN)', true, /Give the authority that signed/],
    ['its TLS certificate is for other names than this address', true, /subjectAltName/],
  ]
  for (const [reason, speaksTls, hint] of cases) {
    const told = tlsHint(reason, speaksTls)
    if (hint === undefined) assert.equal(told, undefined, reason)
    else assert.match(told ?? '', hint, reason)
  }
})
