using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// Changes of who may come in and what for: each comes about together with its entries in the audit or not at all, and one at a time, so that
/// two of them do not each spare the other as the last administrator.
/// </summary>
internal sealed class RightsChanges(AccessDatabase database, AuditLog audit)
{
    private const long Lock = 0x1C0_ACC7;

    /// <summary>Makes a change, which stands unless it throws or says that it does not.</summary>
    /// <param name="change">Changes what is kept in <see cref="AccessDatabase"/>, and notes it by <see cref="NoteAsync(AuditEntry, CancellationToken)"/>. The others wait meanwhile: nothing that takes long.</param>
    /// <param name="stands">Whether the change is to stand, seeing what came of it.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<T> MakeAsync<T>(Func<Task<T>> change, Func<T, bool> stands, CancellationToken cancellation)
    {
        await using var transaction = await database.Database.BeginTransactionAsync(cancellation);
        await database.Database.ExecuteSqlAsync($"SELECT pg_advisory_xact_lock({Lock})", cancellation);
        var result = await change();
        if (stands(result)) await transaction.CommitAsync(cancellation);
        return result;
    }

    /// <summary>Makes the change that a call asks for, which stands unless the answer is a problem.</summary>
    public Task<IResult> MakeAsync(Func<Task<IResult>> change, CancellationToken cancellation) =>
        MakeAsync(change, result => result is IStatusCodeHttpResult { StatusCode: < 400 }, cancellation);

    /// <summary>Adds an entry by the caller to the audit, as part of the change that is being made.</summary>
    public Task NoteAsync(HttpContext call, string act, string subject, string? why = null, JsonObject? details = null) =>
        NoteAsync(new(Caller.Of(call.User).Id, act, subject, why, details), call.RequestAborted);

    /// <summary>Adds an entry to the audit, as part of the change that is being made.</summary>
    public Task NoteAsync(AuditEntry entry, CancellationToken cancellation) => audit.AppendAsync((NpgsqlConnection)database.Database.GetDbConnection(), entry, cancellation);
}
