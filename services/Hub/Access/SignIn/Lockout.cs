using Microsoft.EntityFrameworkCore;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// Counts the tries of an account's secrets. Each is counted before it is checked, in one statement, so that tries that come at the same
/// time count one by one: of five outstanding or wrong ones the last locks the account for fifteen minutes, and what comes then is not checked.
/// </summary>
internal sealed class Lockout(AccessDatabase database, TimeProvider clock)
{
    private const int MaxTries = 5;

    private static readonly TimeSpan s_duration = TimeSpan.FromMinutes(15);

    /// <summary>Counts a try that is about to be checked. Take it back or forgive it when it was right.</summary>
    /// <returns>How many there are with it; null when the account is locked, and the try must not count for anything.</returns>
    public async Task<int?> CountAsync(string account, CancellationToken cancellation)
    {
        var (now, max) = (clock.GetUtcNow(), MaxTries);
        // The row is locked meanwhile: a second try reads what the first one wrote. A lock that is over begins anew.
        var counted = await database.Database.SqlQuery<int>($"""
            UPDATE access."AspNetUsers" SET
                "AccessFailedCount" = CASE WHEN "LockoutEnd" IS NULL THEN "AccessFailedCount" + 1 ELSE 1 END,
                "LockoutEnd" = CASE WHEN "LockoutEnd" IS NULL AND "AccessFailedCount" + 1 >= {max} THEN {now + s_duration} END
            WHERE "Id" = {account} AND ("LockoutEnd" IS NULL OR "LockoutEnd" <= {now})
            RETURNING "AccessFailedCount" AS "Value"
            """).ToListAsync(cancellation);
        return counted.Count == 0 ? null : counted[0];
    }

    /// <summary>Whether a try, when it was wrong, has locked the account.</summary>
    /// <param name="counted">What <see cref="CountAsync"/> said.</param>
    public static bool IsLast(int counted) => counted >= MaxTries;

    /// <summary>Takes back one try, which was right but does not let in yet: the wrong ones stay.</summary>
    public Task TakeBackAsync(string account, CancellationToken cancellation) => database.Database.ExecuteSqlAsync(
        $"""UPDATE access."AspNetUsers" SET "AccessFailedCount" = greatest("AccessFailedCount" - 1, 0), "LockoutEnd" = NULL WHERE "Id" = {account}""", cancellation);

    /// <summary>Forgives all tries: the person is in, or has a new password.</summary>
    public Task ForgiveAsync(string account, CancellationToken cancellation) => database.Database.ExecuteSqlAsync(
        $"""UPDATE access."AspNetUsers" SET "AccessFailedCount" = 0, "LockoutEnd" = NULL WHERE "Id" = {account}""", cancellation);
}
