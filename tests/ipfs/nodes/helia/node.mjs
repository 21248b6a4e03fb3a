// Helia behind the part of the Kubo RPC that the suite uses: node node.mjs REPO API_PORT SWARM_PORT
import http from 'node:http'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { FsBlockstore } from 'blockstore-fs'
import busboy from 'busboy'
import { FsDatastore } from 'datastore-fs'
import { createHeliaLight } from 'helia'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'

const [repo, apiPort, swarmPort] = process.argv.slice(2)
const light = createHeliaLight({
  blockstore: new FsBlockstore(`${repo}/blocks`),
  datastore: new FsDatastore(`${repo}/data`)
})
const helia = withBitswap(withLibp2pLight(light, {
  addresses: { listen: [`/ip4/127.0.0.1/tcp/${swarmPort}`] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  peerDiscovery: [],
  services: { identify: identify() }
}))
await helia.start()
const files = unixfs(helia)

const text = cid => cid.version === 0 ? cid.toString() : cid.toString(base32)
const json = (response, body) => {
  response.setHeader('Content-Type', 'application/json')
  response.end(JSON.stringify(body) + '\n')
}
const upload = (request, take) => new Promise((resolve, reject) => {
  const results = []
  const form = busboy({ headers: request.headers, limits: { fileSize: Infinity } })
  form.on('file', (_, stream) => results.push(take(stream).catch(e => { stream.resume(); reject(e) })))
  form.on('close', () => Promise.all(results).then(resolve, reject))
  form.on('error', reject)
  request.pipe(form)
})
const pin = async cid => {
  try {
    for await (const _ of helia.pins.add(cid)) { /* walks the tree */ }
  } catch (error) {
    if (!/already pinned/i.test(error.message)) throw error
  }
}

const commands = {
  async version (_, response) { json(response, { Version: '0.22.0' }) },
  async id (_, response) {
    const addresses = helia.libp2p.getMultiaddrs().map(String)
    json(response, { ID: helia.libp2p.peerId.toString(), Addresses: addresses, AgentVersion: 'helia/7' })
  },
  async add (options, response, request) {
    const version = Number(options.get('cid-version') ?? 0)
    const rawLeaves = (options.get('raw-leaves') ?? String(version === 1)) === 'true'
    const chunkSize = Number((options.get('chunker') ?? 'size-262144').replace('size-', ''))
    const [cid] = await upload(request, stream => files.addByteStream(stream, {
      cidVersion: version,
      rawLeaves,
      reduceSingleLeafToSelf: true,
      chunker: fixedSize({ chunkSize }),
      layout: balanced({ maxChildrenPerNode: 174 })
    }))
    await pin(cid)
    json(response, { Name: text(cid), Hash: text(cid), Size: '0' })
  },
  async cat (options, response) {
    const offset = Number(options.get('offset') ?? 0)
    const length = options.has('length') ? Number(options.get('length')) : undefined
    for await (const block of files.cat(CID.parse(options.get('arg')), { offset, length })) {
      if (!response.write(block)) await new Promise(resolve => response.once('drain', resolve))
    }
    response.end()
  },
  async 'pin/add' (options, response) {
    await pin(CID.parse(options.get('arg')))
    json(response, { Pins: [options.get('arg')] })
  },
  async 'pin/rm' (options, response) {
    const cid = CID.parse(options.get('arg'))
    if (!await helia.pins.isPinned(cid)) throw new Error('not pinned or pinned indirectly')
    for await (const _ of helia.pins.rm(cid)) { /* walks the tree */ }
    json(response, { Pins: [text(cid)] })
  },
  async 'swarm/connect' (options, response) {
    await helia.libp2p.dial(multiaddr(options.get('arg')))
    json(response, { Strings: [`connect ${options.get('arg')} success`] })
  }
}

http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://x')
  const command = commands[url.pathname.replace('/api/v0/', '')]
  if (request.method !== 'POST') return response.writeHead(405).end()
  if (!command) return response.writeHead(404).end('404 page not found')
  try {
    await command(url.searchParams, response, request)
  } catch (error) {
    if (!response.headersSent) response.writeHead(500, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify({ Message: error.message, Code: 0, Type: 'error' }))
  }
}).listen(Number(apiPort), '127.0.0.1', () => console.log(`ready http://127.0.0.1:${apiPort}`))
process.stdin.resume().on('end', () => process.exit(0)) // ends when the test process does
