using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// What asks the program to end: Ctrl-C, <c>kill</c> and <c>timeout</c> (SIGTERM), a terminal that is closed (SIGHUP). The work stops in order, so that
/// nothing half-written is left. A second Ctrl-C ends the process at once.
/// </summary>
internal sealed class StopSignals : IDisposable
{
    /// <summary>What shells add to a signal's number.</summary>
    private const int SignalExit = 128;

    /// <summary>For work that does not stop, in a driver that hangs for example. Ctrl-C needs none: there somebody watches.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private static readonly (PosixSignal Signal, int Number)[] Signals = [(PosixSignal.SIGINT, 2), (PosixSignal.SIGTERM, 15), (PosixSignal.SIGHUP, 1)];

    private readonly CancellationTokenSource cancellation = new();
    private readonly PosixSignalRegistration[] registrations;
    private Timer? limit;
    private volatile int exit = CommandLine.Cancelled;

    public StopSignals() => registrations = [.. Signals.Select(s => PosixSignalRegistration.Create(s.Signal, context => Stop(context, SignalExit + s.Number)))];

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => cancellation.Token;

    /// <summary>The process's exit code for a command's: where it was stopped, what shells report for a process that the signal ended.</summary>
    public int ExitCode(int ofCommand) => ofCommand == CommandLine.Cancelled ? exit : ofCommand;

    public void Dispose()
    {
        foreach (var registration in registrations)
        {
            registration.Dispose();
        }

        limit?.Dispose();
        cancellation.Dispose();
    }

    private void Stop(PosixSignalContext context, int code)
    {
        var isFirst = !cancellation.IsCancellationRequested;

        // The kernel and the shell may both send SIGHUP for one closed terminal.
        context.Cancel = isFirst || context.Signal != PosixSignal.SIGINT;
        if (isFirst)
        {
            exit = code;
            limit = context.Signal == PosixSignal.SIGINT ? null : new Timer(_ => Environment.Exit(code), null, Patience, Timeout.InfiniteTimeSpan);
            cancellation.Cancel();
        }
        else if (!context.Cancel && !Console.IsOutputRedirected)
        {
            // A bar hides it.
            Console.CursorVisible = true;
        }
    }
}
