using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Cli;

// The first Ctrl-C stops the work in order, a second one ends the process at once.
using var cancellation = new CancellationTokenSource();
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal =>
{
    signal.Cancel = !cancellation.IsCancellationRequested;
    cancellation.Cancel();
});
Console.SetOut(new ResultWriter(Console.Out));
return CommandLine.Run(args, new CommandContext(Console.Out, Console.Error, !Console.IsOutputRedirected, cancellation.Token));
