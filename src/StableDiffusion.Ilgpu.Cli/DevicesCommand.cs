using System.CommandLine;
using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu devices</c>: every accelerator of this machine.</summary>
internal static class DevicesCommand
{
    public static Command Create(CommandContext context)
    {
        var command = new Command("devices", "List the accelerators of this machine.") { SharedOptions.Verbose() };
        command.SetAction(_ => Print(context));
        return command;
    }

    private static void Print(CommandContext context)
    {
        var table = Tables.Create("Id", "Name", "Kind", ">Memory", ">Compute units", "Default");
        foreach (var device in ComputeDevice.All)
        {
            table.AddTextRow(
                device.Id, device.Name, KindName(device.Kind), Tables.Bytes(device.MemoryBytes), $"{device.ComputeUnits}",
                device.IsDefault ? "yes" : "");
        }

        context.CreateConsole().Write(table);
    }

    private static string KindName(DeviceKind kind) => kind switch
    {
        DeviceKind.Cpu => "CPU",
        DeviceKind.Cuda => "CUDA",
        DeviceKind.OpenCl => "OpenCL",
        _ => kind.ToString(),
    };
}
