using System.Net;

namespace Intercommunalite.Cli;

/// <summary>Ends the command with exit code 1. The message is all that the user gets: what is wrong, where, and what to do.</summary>
internal sealed class Failure(string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>How a server said no, if one did.</summary>
    public HttpStatusCode? Status { get; init; }

    /// <summary>How far the hub is with what was asked for, where it said that it is being built; else null.</summary>
    public Building? Building { get; init; }
}

/// <summary>What the hub is building for whoever asks.</summary>
/// <param name="Percent">How much is done.</param>
/// <param name="RetryAfter">When it wants to be asked again.</param>
internal sealed record Building(double Percent, TimeSpan RetryAfter);
