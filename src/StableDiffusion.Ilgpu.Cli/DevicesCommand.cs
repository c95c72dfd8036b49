using System.CommandLine;
using Spectre.Console;
using StableDiffusion.Ilgpu.Compilation;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu devices</c>: every accelerator of this machine.</summary>
internal static class DevicesCommand
{
    public static Command Create(CommandContext context)
    {
        var verbose = SharedOptions.Verbose("Print what the drivers say of each device, and why others are left out");
        var command = new Command("devices", "List the accelerators of this machine.") { verbose };
        command.SetAction(parsed =>
        {
            PrintTable(context);
            if (parsed.GetValue(verbose))
            {
                PrintDetails(context);
            }
        });
        return command;
    }

    private static void PrintTable(CommandContext context)
    {
        var table = Tables.Create("Id", "Name", "Kind", ">Memory", ">Compute units", "Default");
        foreach (var device in ComputeDevice.All)
        {
            table.AddTextRow(
                device.Id, device.Name, KindName(device.Kind), Tables.Bytes(device.MemoryBytes), $"{device.ComputeUnits}",
                device.IsDefault ? "yes" : "");
        }

        context.WriteTable(table);
    }

    private static void PrintDetails(CommandContext context)
    {
        context.WriteLine($"default: {ComputeDevice.Default}: {ComputeDevice.ReasonFor("auto")}");
        foreach (var device in ComputeDevice.All.Where(d => d.Details.Count > 0))
        {
            context.WriteLine($"{device}:");
            foreach (var (name, value) in device.Details)
            {
                context.WriteLine($"  {name}: {value}");
            }

            if (device.Kind == DeviceKind.Cuda)
            {
                context.WriteLine($"  tensor cores: {(BackendProfile.LeafOf(device) == LeafKind.Tensor ? "tried when a model is loaded" : "none that kernels use")}");
            }
        }

        foreach (var line in ComputeDevice.LeftOut)
        {
            context.WriteLine(line);
        }
    }

    private static string KindName(DeviceKind kind) => kind switch
    {
        DeviceKind.Cpu => "CPU",
        DeviceKind.Cuda => "CUDA",
        DeviceKind.OpenCl => "OpenCL",
        _ => kind.ToString(),
    };
}
