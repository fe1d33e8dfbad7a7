# The first process's only job: install crmsync as README.md says, and let its unit run. Outcomes go to /out.
cd /
exec 2>/out/errors.txt
tell() { echo "$1=$2" >> /out/outcomes.txt; }
start() { systemctl start "crmsync@contacts.service"; tell "$1" "$(systemctl show crmsync@contacts -p ExecMainStatus --value)"; }
by_hand() {
  setpriv --reuid crmsync --regid crmsync --clear-groups env -i \
    CRMSYNC_CONFIG=/etc/crmsync/config.toml CRMSYNC_STATE=/var/lib/crmsync "$@"
}

cat > /usr/local/bin/crmsync <<'EOF'
#!/bin/sh
export PYTHONPATH=/opt/source:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -m crmsync "$@"
EOF
chmod 755 /usr/local/bin/crmsync
mkdir /tmp/sandbox
crmsync sandbox --contacts 300 --data /tmp/sandbox > /dev/null 2> /tmp/sandbox.log &
for _ in $(seq 300); do grep -q serving /tmp/sandbox.log && break; sleep 0.1; done
. /tmp/sandbox/sandbox.env

systemd-sysusers /opt/source/systemd/crmsync.sysusers.conf
install -m 0644 /opt/source/systemd/crmsync@.* /etc/systemd/system/
crmsync init --yes --no-check --dir /etc/crmsync > /out/init.txt
tell state "$(stat -c '%U %a' /var/lib/crmsync)"
tell env "$(stat -c '%U %a' /etc/crmsync/.env)"
# One secret from .env, the other as a credential.
mkdir -p /etc/credstore
sed -n "s/^SALESFORCE_CLIENT_SECRET='\?\([^']*\)'\?$/\1/p" /etc/crmsync/.env > /etc/credstore/crmsync.salesforce_client_secret
sed -i /^SALESFORCE_CLIENT_SECRET/d /etc/crmsync/.env
chmod -R go= /etc/credstore
sandbox=$SALESFORCE_LOGIN_URL
unset $(compgen -e | grep -E '^(SALESFORCE|EXPERITURE)_')

# There is no network to wait for here, no basic.target and no journal.
mkdir /etc/systemd/system/crmsync@.service.d /etc/systemd/system/crmsync@contacts.service.d
printf '%s\n' '[Unit]' DefaultDependencies=no Wants= '[Service]' StandardOutput=append:/out/unit.txt \
  StandardError=inherit Environment=CRMSYNC_LOG_LEVEL=info > /etc/systemd/system/crmsync@.service.d/trial.conf
systemctl daemon-reload
start first
printf '[Service]\nExecStart=\nExecStart=/usr/local/bin/crmsync pull -v --full %%i\n' \
  > /etc/systemd/system/crmsync@contacts.service.d/full.conf
systemctl daemon-reload
start full
rm -r /etc/systemd/system/crmsync@contacts.service.d
systemctl daemon-reload
by_hand SALESFORCE_CLIENT_SECRET="$(cat /etc/credstore/crmsync.salesforce_client_secret)" \
  /usr/local/bin/crmsync pull --json > /out/by_hand.txt
tell by_hand $?
start delta
# A run that is stopped at work ends well.
control() {
  /opt/python/bin/python3 - "$1" "$2" <<'EOF'
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"}))
EOF
}
control "$sandbox/_sandbox/faults" \
  '{"service": "salesforce", "path": "queryAll", "after": 0, "times": null, "action": {"kind": "delay", "seconds": 1}}'
runs() { grep -c 'reading the window' /out/unit.txt; }
before=$(runs)
systemctl start --no-block crmsync@contacts
for _ in $(seq 300); do [ "$(runs)" -gt "$before" ] && break; sleep 0.1; done
systemctl stop crmsync@contacts
tell stopped "$(systemctl show crmsync@contacts -p ExecMainStatus -p Result --value | sort | xargs)"

systemctl start crmsync@contacts.timer
tell timer "$(systemctl is-active crmsync@contacts.timer)"
systemctl show crmsync@contacts -p NoNewPrivileges -p ProtectSystem -p MemoryDenyWriteExecute -p User > /out/properties.txt
tell done yes
