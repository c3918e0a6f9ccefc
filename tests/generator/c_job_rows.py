"""Rows of both families of `c_Job`, as T-SQL."""


def cron_row(
    *, number=1, name="Nightly load", cron="0 2 * * *", proc="dbo.usp_Nightly", active=1, email=0
):
    def text(value):
        return "NULL" if value is None else "N'" + value.replace("'", "''") + "'"

    return (
        "INSERT c_Job (ID, JobName, CronExpression, StoredProcName, IsActive, EmailOnFailure) VALUES "
        f"({number}, {text(name)}, {text(cron)}, {text(proc)}, {active}, {email})\n"
    )


def classic_row(kind="Daily", when="2024-03-06T02:30:00", count="NULL", **columns):
    values = {
        "ID": 1, "lkpJob": "'NightlyLoad'", "lkpJobRunner": "'SRV01'", "enmJobType": f"'{kind}'",
        "WhenToRun": f"CAST(N'{when}' AS DateTime)" if when else "NULL", "CyclicCount": count, "Active": 1,
        "IsManaged": 1, "DeletedOn": "NULL", **columns,
    }  # fmt: skip
    return f"INSERT c_Job ({', '.join(values)}) VALUES ({', '.join(map(str, values.values()))})\n"
