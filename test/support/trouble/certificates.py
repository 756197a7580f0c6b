"""A certificate authority for one test run, made with the openssl program."""
import os
import shutil
import subprocess


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.ca, self._ca_key = folder / "ca.crt", folder / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                      "-subj", "/CN=test authority", "-keyout", self._ca_key, "-out", self.ca)

    def issue(self, name, alternatives="DNS:localhost,IP:127.0.0.1"):
        """(certificate file, key file) for that common name."""
        key, request, certificate, extra = (self.folder / f"{name}.{e}" for e in ("key", "csr", "crt", "ext"))
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extra.write_text(f"subjectAltName={alternatives}\n")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._ca_key, "-CAcreateserial",
                      "-days", "2", "-extfile", extra, "-out", certificate)
        return certificate, key

    @staticmethod
    def _openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def install_at(server, certificate, key):
    """Switches TLS on at a server of the harness, which must then be restarted."""
    from harness.process import give_to_postgres
    for source, name in ((certificate, "server.crt"), (key, "server.key")):
        target = server.data_dir / name
        shutil.copy(source, target)
        os.chmod(target, 0o600)
        give_to_postgres(target)
    server.settings["ssl"] = "on"
