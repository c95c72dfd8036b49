using System.Diagnostics;
using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>Compiles kernels for a device, and says in one line why that fails.</summary>
internal static class KernelLoading
{
    /// <summary>
    /// What threads take turns at: ILGPU's compiler, for each of its contexts, and the driver's, for each device. A kernel that is with one of them does not
    /// keep another from the other one. Of ILGPU's compiler several at a time take longer than one after the other; several of CUDA's have been
    /// seen to fail (ILGPU's issue 724), and AMD's takes turns by itself.
    /// </summary>
    private static readonly ConditionalWeakTable<object, object> Turns = [];

    /// <summary>Compiles a kernel that is launched with explicit groups; the result keeps it alive, which ILGPU does not.</summary>
    /// <typeparam name="TLauncher">An action of stream, <see cref="KernelConfig"/> and the kernel's parameters.</typeparam>
    /// <param name="accelerator">The device.</param>
    /// <param name="name">The kernel's name, for people to read.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="specialization">The work-items of its groups, where registers are to be shared out for so many.</param>
    /// <param name="cache">Has the kernel, or is given it; null for none.</param>
    /// <exception cref="StableDiffusionException">ILGPU or the driver's compiler rejects the kernel.</exception>
    public static TLauncher Load<TLauncher>(
        Accelerator accelerator, string name, Delegate kernel, KernelSpecialization specialization = default, KernelCache? cache = null)
        where TLauncher : Delegate
    {
        using var messages = new TraceMessages();
        try
        {
            var entry = EntryPointDescription.FromExplicitlyGroupedKernel(kernel.Method);
            if (cache?.Find(accelerator, entry, specialization) is { } kept)
            {
                try
                {
                    return Launcher<TLauncher>(accelerator, kept);
                }
                catch (Exception e) when (IsRejection(e))
                {
                    // Compiled as ever.
                    FailedObjects.Forget();
                }
            }

            CompiledKernel compiled;
            lock (Turns.GetOrCreateValue(accelerator.Context))
            {
                compiled = accelerator.GetBackend().Compile(entry, specialization);
            }

            cache?.Keep(accelerator, entry, specialization, compiled);
            return Launcher<TLauncher>(accelerator, compiled);
        }
        catch (Exception e) when (IsRejection(e))
        {
            FailedObjects.Forget();
            var cause = e is InternalCompilerException { InnerException: { } inner } ? inner : e;
            throw new StableDiffusionException(
                $"{accelerator.Name}: the kernel {name} does not compile: {FirstLine(messages.Text) ?? cause.Message}; another device or driver is needed", e);
        }
    }

    private static TLauncher Launcher<TLauncher>(Accelerator accelerator, CompiledKernel compiled) where TLauncher : Delegate
    {
        if (compiled is CLCompiledKernel openCl)
        {
            OpenClSource.Prepare(openCl);
        }
        else if (compiled is PTXCompiledKernel ptx)
        {
            PtxSource.Complete(ptx);
        }

        // Kernels are compiled on threads of their own, and CUDA's driver wants each of them bound.
        accelerator.Bind();
        lock (Turns.GetOrCreateValue(accelerator))
        {
            return accelerator.LoadKernel(compiled).CreateLauncherDelegate<TLauncher>();
        }
    }

    private static bool IsRejection(Exception e) => e is AcceleratorException or InternalCompilerException or NotSupportedException;

    /// <summary>The line that says what is wrong: the first one with an error, or else the first one.</summary>
    internal static string? FirstLine(string messages)
    {
        var lines = messages.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.FirstOrDefault(l => l.Contains("error", StringComparison.OrdinalIgnoreCase)) ?? lines.FirstOrDefault();
    }

    /// <summary>
    /// What this thread traces while it lives: ILGPU throws a number, and writes there what the driver's compiler said, after a heading of its
    /// own.
    /// </summary>
    private sealed class TraceMessages : TraceListener
    {
        private const string Heading = "Kernel loading failed:";

        private readonly int thread = Environment.CurrentManagedThreadId;

        private readonly StringWriter text = new();

        public TraceMessages() => Trace.Listeners.Add(this);

        public string Text => text.ToString();

        public override void Write(string? message)
        {
            if (Environment.CurrentManagedThreadId == thread && message?.Trim() is not (null or Heading))
            {
                text.Write(message);
            }
        }

        public override void WriteLine(string? message) => Write(message + "\n");

        protected override void Dispose(bool disposing)
        {
            Trace.Listeners.Remove(this);
            text.Dispose();
            base.Dispose(disposing);
        }
    }
}
