#!/bin/sh
# Dump the three databases into a new folder of /var/backups/portico, and remove those older than 30 days. Run by portico-backup.service.
#
# Who tells goes before who hears: an event that billing hands over while this runs is still in the outbox of its dump, and is handed over
# again after a restore. The other way round it would be in neither.
set -eu
umask 077
root=${1:-/var/backups/portico}
folder=$root/$(date -u +%Y-%m-%dT%H%M%SZ)
mkdir "$folder.part"
for service in billing portal notifier; do
    pg_dump --format=custom --file="$folder.part/$service.dump" "$service"
done
mv "$folder.part" "$folder"
find "$root" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} +
echo "$folder"
