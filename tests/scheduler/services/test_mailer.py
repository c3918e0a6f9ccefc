"""Mail sent by jobs through a real server on this machine."""

from email import message_from_bytes, policy

from targcc_scheduler import Mailer, Settings


async def test_mail_goes_through_the_server_of_the_settings(mail_server, mailbox, tmp_path):
    settings = Settings(_env_file=None, smtp_host="127.0.0.1", smtp_port=mail_server.port)
    mailer = Mailer(settings, tmp_path / "outbox")
    await mailer.send(["dana@example.com"], "Sales", "See it.", attachments={"sales.csv": b"1,2"})
    (mail,) = mailbox.mails
    assert (mail["From"], mail["Subject"]) == ("rig-jobs@localhost", "Sales")
    assert [part.get_filename() for part in mail.iter_attachments()] == ["sales.csv"]
    assert not (tmp_path / "outbox").exists()


async def test_mail_is_written_into_a_folder_while_there_is_no_server(tmp_path):
    mailer = Mailer(Settings(_env_file=None), tmp_path / "outbox")
    await mailer.send(["dana@example.com"], "Sales", "See it.")
    (file,) = (tmp_path / "outbox").iterdir()
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    assert mail.get_content() == "See it.\n"
