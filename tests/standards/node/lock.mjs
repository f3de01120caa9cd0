// `npm run lock`: the lock as npm writes it, without the addresses where its authors ask for money, so that it names no host.
import { readFileSync, writeFileSync } from 'node:fs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
for (const each of Object.values(lock.packages)) delete each.funding
writeFileSync('package-lock.json', JSON.stringify(lock, null, 2) + '\n')
