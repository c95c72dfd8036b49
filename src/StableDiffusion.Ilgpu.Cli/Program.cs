using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Cli;

// The first Ctrl-C stops the work in order, a second one ends the process at once.
using var cancellation = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal =>
{
    signal.Cancel = !cancellation.IsCancellationRequested;
    cancellation.Cancel();
});
var (output, error) = StandardStreams.Open();
Console.SetOut(new ResultWriter(output));
return CommandLine.Run(args, new CommandContext(Console.Out, error, !Console.IsOutputRedirected, cancellation.Token));
